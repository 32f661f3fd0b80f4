"""Several runs side by side: in order, so many at a time, and all of them gone when one cannot be tried."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from support import bash, containers, make_repository, say, wait_until

from langchain_sandbox import Limits, Sandbox, SandboxConfigError
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import docker


@pytest.fixture
def waiting() -> Iterator[ScriptedModel]:
    """Its agent waits for ever."""
    with ScriptedModel(lambda messages: say() if messages[-1]["role"] == "tool" else bash("sleep 600")) as model:
        yield model


def assert_none_comes(client: docker.DockerClient) -> None:
    """There is no container, and none is about to be."""
    for _ in range(10):
        assert containers(client) == []
        time.sleep(0.3)


def test_results_are_in_order_and_no_more_at_once_than_wanted(tmp_path: Path, client: docker.DockerClient) -> None:
    seen: list[int] = []

    def answer(messages: list[dict[str, Any]]) -> Any:
        seen.append(len(containers(client)))
        return say() if messages[-1]["role"] == "tool" else bash("ls > listing")

    folders = [make_repository(tmp_path / name, {name: "x"}) for name in "abc"]
    with ScriptedModel(answer) as model:
        sandbox = Sandbox(model=model.endpoint)
        requests = [{"task": "List.", "workspace": folder} for folder in folders]
        results = sandbox.batch(requests, max_concurrency=2)
        assert sandbox.batch([]) == []
    assert [result.workspace.root for result in results] == [str(folder) for folder in folders]
    assert all(result.ok for result in results)
    assert max(seen) == 2


@pytest.mark.parametrize("wrong", [{"command": "nowhere"}, {"task": "Work.", "workspace": "/nowhere"}])
def test_one_that_cannot_work_is_found_before_any_begins(waiting: ScriptedModel, wrong: dict[str, str]) -> None:
    sandbox = Sandbox(model=waiting.endpoint)
    requests = ["Work.", wrong]
    with pytest.raises(SandboxConfigError, match="nowhere"):
        sandbox.batch(requests, max_concurrency=1)
    with pytest.raises(SandboxConfigError, match="nowhere"):
        asyncio.run(sandbox.abatch(requests, max_concurrency=1))
    with pytest.raises(SandboxConfigError, match="a list of tasks"):
        sandbox.batch("Work.")
    assert waiting.requests == []


def test_one_that_cannot_be_tried_ends_the_others(
    waiting: ScriptedModel, tmp_path: Path, client: docker.DockerClient
) -> None:
    (tmp_path / "huge.bin").write_bytes(bytes(3_000_000))  # found out when the workspace is read
    sandbox = Sandbox(model=waiting.endpoint, limits=Limits(workspace="1m"))
    with pytest.raises(SandboxConfigError, match=r"huge\.bin"):
        sandbox.batch(["Work.", {"task": "Work.", "workspace": tmp_path}])
    assert_none_comes(client)


def test_an_interrupt_returns_when_all_containers_are_gone(waiting: ScriptedModel, client: docker.DockerClient) -> None:
    def interrupt() -> None:
        wait_until(lambda: len(waiting.requests) >= 2, 60)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        Sandbox(model=waiting.endpoint).batch(["Work.", "Work."])
    left = containers(client)
    thread.join()
    assert left == []


def test_whoever_cancels_while_a_run_is_about_to_begin_leaves_none(
    waiting: ScriptedModel, client: docker.DockerClient
) -> None:
    async def scenario() -> None:
        sandbox = Sandbox(model=waiting.endpoint)
        for pauses in range(6):
            beginning = asyncio.create_task(sandbox.astart("Work."))
            for _ in range(pauses):
                await asyncio.sleep(0.002)
            beginning.cancel()
            await asyncio.wait({beginning})
            if not beginning.cancelled():  # it had begun
                await beginning.result().acancel()

    asyncio.run(scenario())
    assert_none_comes(client)
