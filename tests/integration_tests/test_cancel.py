"""Time-outs and cancellation: the container is gone within five seconds, and what was done until then is kept."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from support import bash, containers, say, wait_until, write

from langchain_sandbox import Sandbox
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker


@pytest.fixture
def sandbox(repository: Path) -> Iterator[Sandbox]:
    """Its agent writes a file and then waits for ever."""

    def answer(messages: list) -> dict:
        done = sum(message["role"] == "tool" for message in messages)
        return [write("partial.txt", "kept\n"), bash("sleep 600"), say()][done]

    with ScriptedModel(answer) as model:
        yield Sandbox(model=model.endpoint, workspace=repository)


def test_a_time_out_keeps_what_was_done(
    sandbox: Sandbox, client: docker.DockerClient, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    result = sandbox.run("Work.", timeout=9)
    assert time.monotonic() - began < 9 + 6
    assert result.status == "timeout"
    assert "9 s" in result.ending.message
    assert [file.path for file in result.files] == ["partial.txt"]
    assert result.evidence.cleanup_confirmed
    assert containers(client) == []
    record_property("W6", "the time was up: kept")


async def wait_for_tool(handle: object) -> None:
    async for event in handle.aevents():
        if event.type == "tool_started" and event.tool == "bash":
            return


def test_a_cancelled_task_is_cancelled_and_its_container_gone(
    sandbox: Sandbox, client: docker.DockerClient, record_property: Callable[[str, object], None]
) -> None:
    async def scenario() -> float:
        async def watch() -> None:
            async for event in sandbox.astream("Work."):
                if event.type == "tool_started" and event.tool == "bash":
                    working.set()

        working = asyncio.Event()
        task = asyncio.create_task(watch())
        await working.wait()
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        return time.monotonic() - began

    took = asyncio.run(scenario())
    assert took < 5
    assert containers(client) == []
    record_property("R4", f"gone {took:.1f} s after, and cancelled")


def test_arun_under_wait_for_raises_and_leaves_nothing(sandbox: Sandbox, client: docker.DockerClient) -> None:
    async def scenario() -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sandbox.arun("Work."), 6)
        return time.monotonic() - began

    assert asyncio.run(scenario()) < 6 + 5
    assert containers(client) == []


def test_a_handle_can_cancel_and_has_the_partial_result(sandbox: Sandbox, client: docker.DockerClient) -> None:
    async def scenario() -> None:
        handle = await sandbox.astart("Work.")
        await wait_for_tool(handle)
        began = time.monotonic()
        await handle.acancel()
        assert time.monotonic() - began < 5
        assert handle.done
        result = handle.result()
        assert result.status == "cancelled"
        assert [file.path for file in result.files] == ["partial.txt"]
        handle.cancel()  # once more is no error

    asyncio.run(scenario())
    assert containers(client) == []


def test_leaving_a_stream_early_ends_the_run(sandbox: Sandbox, client: docker.DockerClient) -> None:
    stream = sandbox.stream("Work.")
    assert next(stream).type == "started"
    assert len(containers(client)) == 1
    stream.close()
    assert containers(client) == []


def test_cancelling_before_there_is_a_container(sandbox: Sandbox, client: docker.DockerClient) -> None:
    handle = sandbox.start("Work.")
    handle.cancel()
    assert handle.result().status == "cancelled"
    assert containers(client) == []


def test_a_task_that_is_cancelled_while_its_run_begins_leaves_no_run(
    sandbox: Sandbox, client: docker.DockerClient, tmp_path: Path
) -> None:
    async def scenario() -> None:
        for moment in range(12):
            task = asyncio.create_task(sandbox.arun("Work."))
            for _ in range(moment):
                await asyncio.sleep(0.0003)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(scenario())
    runs = tmp_path / "state" / "runs"
    wait_until(lambda: all((run / "result.json").exists() for run in runs.glob("*")), 20)
    statuses = [json.loads(path.read_text())["status"] for path in runs.glob("*/result.json")]
    assert set(statuses) == {"cancelled"}
    assert containers(client) == []
