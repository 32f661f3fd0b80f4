"""`on_event` hears each event once, wherever the events are read, and ends nothing."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from concurrent.futures import Future
from typing import Any

import pytest

from langchain_sandbox import Sandbox
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.event_log import EventLog
from langchain_sandbox.events import SandboxEvent, StepEvent, TextEvent
from langchain_sandbox.handle import RunHandle

STEPS = [StepEvent(run_id="r", at=0.0, index=index, reason="stop") for index in range(4)]


def listen(event: SandboxEvent) -> None:
    """A function that can be pickled."""


async def alisten(event: SandboxEvent) -> None:
    """A coroutine function."""


def handle(on_event: Any) -> RunHandle:
    """A run that is over, whose events nobody has read."""
    log, future = EventLog(), Future[Any]()
    for step in STEPS:
        log.put(step)
    log.close()
    future.set_result("result")
    return RunHandle(run=None, future=future, log=log, run_id="r", on_event=on_event)  # type: ignore[arg-type]


def test_who_waits_for_the_result_hears_all() -> None:
    heard: list[SandboxEvent] = []
    assert handle(heard.append).result() == "result"
    assert heard == STEPS


def test_a_reader_and_then_the_result_hear_each_once() -> None:
    heard: list[SandboxEvent] = []
    run = handle(heard.append)
    read = []
    for event in run.events():
        read.append(event)
        if len(read) == 2:
            break
    assert heard == read == STEPS[:2]
    run.result()
    assert heard == STEPS


def test_leaving_the_block_tells_the_rest() -> None:
    heard: list[SandboxEvent] = []
    with handle(heard.append) as run:
        next(iter(run.events()))
    assert heard == STEPS


@pytest.mark.parametrize("on_event", ["sync", "async"])
def test_in_an_event_loop(on_event: str) -> None:
    heard: list[SandboxEvent] = []

    async def hear(event: SandboxEvent) -> None:
        await asyncio.sleep(0)
        heard.append(event)

    async def scenario() -> None:
        async with handle(heard.append if on_event == "sync" else hear) as run:
            async for _ in run.aevents():
                break
            assert await run.aresult() == "result"
        assert heard == STEPS

    asyncio.run(scenario())


def test_what_it_raises_is_logged_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: SandboxEvent) -> None:
        msg = "broken"
        raise ValueError(msg)

    assert list(handle(fail).events()) == STEPS
    assert [record.levelno for record in caplog.records if "on_event failed" in record.message] == [logging.WARNING]


def test_a_coroutine_function_needs_an_event_loop() -> None:
    run = handle(alisten)
    for call in (run.events, run.result):
        with pytest.raises(SandboxConfigError, match="coroutine function"):
            call()


def test_texts_of_different_runs_are_not_joined() -> None:
    log = EventLog()
    for run_id in ("a", "a", "b"):
        log.put(TextEvent(run_id=run_id, at=0.0, text=run_id))
    log.close()
    assert [event.text for event in log] == ["aa", "b"]


def test_a_sandbox_is_copied_and_pickled_with_it() -> None:
    sandbox = Sandbox(model="http://127.0.0.1:1", on_event=listen, trace="full")
    for other in (copy.copy(sandbox), copy.deepcopy(sandbox), pickle.loads(pickle.dumps(sandbox))):
        assert (other.on_event, other.trace) == (listen, "full")
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(Sandbox(model="http://127.0.0.1:1", on_event=lambda _: None))


def test_options_that_cannot_work_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SandboxConfigError, match="on_event"):
        Sandbox(model="http://127.0.0.1:1", on_event="print")  # type: ignore[arg-type]
    monkeypatch.setenv("SANDBOX_TRACE", "everything")
    with pytest.raises(SandboxConfigError, match="trace is one of off, metadata, full"):
        Sandbox(model="http://127.0.0.1:1")
