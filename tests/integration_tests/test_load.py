"""Many tasks at once: in turn, within bounds, each result as it comes; and an end in good order at any moment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import aclosing, closing
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from soak.load import measure_load
from support import bash, containers, say, wait_until

from langchain_sandbox import ModelEndpoint, Sandbox
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

    from langchain_sandbox import SandboxEvent

PROGRAM = Path(__file__).with_name("drained.py")
MANY = 16


@pytest.mark.timeout(600)
def test_r7_many_at_once_all_complete_in_turn_and_within_bounds(
    record_property: Callable[[str, object], None],
) -> None:
    """A hundred of them are part of `make soak`."""
    told = measure_load(runs=MANY)
    assert told["statuses"] == {"completed": MANY}
    assert told["displaced"] <= MANY // 2  # who came first is served first
    assert told["first"] < told["seconds"] / 4  # results come as they are ready, not all in the end
    assert told["containers"] <= 12
    assert told["memory"] < 200
    assert told["threads"] < 100
    assert told["left"] == 0
    record_property(
        "R7",
        f"here {MANY}: at most {told['containers']} containers and {told['memory']} MiB more memory at once, the first "
        f"result after {told['first']:.0f} s of {told['seconds']:.0f}",
    )


@pytest.fixture
def first_answers() -> Iterator[ScriptedModel]:
    """Whoever asks first gets an answer; all others work for ever."""
    turns = iter([say()])
    with ScriptedModel(lambda _messages: next(turns, bash("sleep 600"))) as model:
        yield model


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_whoever_has_enough_leaves_nothing_under_way(
    client: docker.DockerClient, first_answers: ScriptedModel, mode: str
) -> None:
    sandbox = Sandbox(model=first_answers.endpoint)
    left: list[str] = ["nobody has looked"]

    async def take_one() -> None:
        nonlocal left
        async with aclosing(sandbox.abatch_as_completed(["Work."] * 4)) as results:
            async for _, result in results:
                assert result.ok
                break
        left = containers(client)

    if mode == "async":
        asyncio.run(take_one())
    else:
        with closing(sandbox.batch_as_completed(["Work."] * 4)) as results:
            assert next(results)[1].ok
        left = containers(client)
    assert left == []


def test_a_model_server_is_never_asked_by_more_at_once_than_it_takes() -> None:
    runs, most, delay = 5, 2, 0.4
    asking: set[str] = set()

    def note(event: SandboxEvent) -> None:
        if event.type == "model_call_started" and event.tools:  # and not for a title
            asking.add(event.run_id)

    def answer(_messages: list[dict[str, Any]]) -> Any:
        wait_until(lambda: len(asking) == runs, 120)  # all of them ask, and most of them wait at the gateway
        return {"text": "Done.", "delay": delay}

    with ScriptedModel(answer) as model:
        endpoint = ModelEndpoint(model.endpoint.base_url, max_concurrency=most)
        results = Sandbox(model=endpoint, on_event=note).batch(["Nothing."] * runs)
    assert all(result.ok for result in results)
    arrived = [request.received_at for request in model.requests]
    assert len(arrived) == runs
    for line in range(most):  # each is answered for `delay` at least, and the next but so many comes after that
        assert all(later - earlier >= delay for earlier, later in pairwise(arrived[line::most]))
    waited = [max(call.waited for call in result.model_calls) for result in results]
    assert sum(seconds >= delay for seconds in waited) >= runs - most


def open_process(model: ScriptedModel, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


def drain(process: subprocess.Popen[str], *, begun: int) -> list[list[Any]]:
    """Ask a process to end as soon as so many of its tasks are at work, and give what it told of its results."""
    try:
        assert process.stdout is not None
        for _ in range(begun):
            assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    return [json.loads(line) for line in told.splitlines() if line != "begun"]


def test_sigterm_drains_a_process_with_many_tasks(client: docker.DockerClient) -> None:
    def answer(messages: list[dict[str, Any]]) -> Any:
        return bash("sleep 600") if messages[-1]["role"] == "tool" else bash("echo one > one.txt")

    with ScriptedModel(answer) as model:
        results = drain(open_process(model, "now", "12"), begun=2)
        assert containers(client) == []
    assert [place for place, _, _ in results] == list(range(12))
    assert {code for _, code, _ in results} == {"cancelled", "not_begun"}
    kept = [place for place, _, patch in results if "one.txt" in patch]
    waited = [place for place, code, _ in results if code == "not_begun"]
    assert len(kept) >= 2
    assert len(waited) >= 2
    assert max(kept) < max(waited)


def test_who_is_given_time_may_finish_and_nobody_begins(client: docker.DockerClient) -> None:
    with ScriptedModel([bash("sleep 2; echo one > one.txt"), say()]) as model:
        results = drain(open_process(model, "grace", "3"), begun=1)
        assert containers(client) == []
    assert [code for _, code, _ in results] == ["completed", "not_begun", "not_begun"]
    assert "one.txt" in results[0][2]
    assert len(model.requests) == 2
