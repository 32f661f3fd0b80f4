"""`on_event` hears of every run, whoever begins it, where it is waited for."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import bash, say

from langchain_sandbox import Sandbox, SandboxEvent, SandboxTool
from langchain_sandbox.testing import ScriptedModel, Turn

EXAMPLE = Path(__file__).parents[2] / "examples" / "metrics.py"
WHO = contextvars.ContextVar("who", default="nobody")
WHOLE = {"started", "model_call_started", "model_call", "tool_started", "tool_ended", "step", "finished"}


def play(messages: list[dict]) -> Turn:
    return say() if messages[-1]["role"] == "tool" else bash("true")


class Ear:
    """Keeps what it hears, and where it was called."""

    def __init__(self) -> None:
        self.heard: list[SandboxEvent] = []
        self.where: set[tuple[int, str]] = set()

    def __call__(self, event: SandboxEvent) -> None:
        self.heard.append(event)
        self.where.add((threading.get_ident(), WHO.get()))

    def check(self, runs: int = 1) -> None:
        """Whole runs, each event of them once, and all of them here."""
        by_run: dict[str, list[str]] = {}
        for event in self.heard:
            by_run.setdefault(event.run_id, []).append(event.type)
        assert len(by_run) == runs
        for types in by_run.values():
            assert set(types) >= WHOLE
            assert (types[0], types[-1], types.count("finished")) == ("started", "finished", 1)
        assert self.where == {(threading.get_ident(), "caller")}


@pytest.fixture(autouse=True)
def caller() -> Iterator[None]:
    token = WHO.set("caller")
    yield
    WHO.reset(token)


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def sandbox(repository: Path, ear: Ear) -> Iterator[Sandbox]:
    with ScriptedModel(play) as model:
        yield Sandbox(model=model.endpoint, workspace=repository, on_event=ear)


def test_run(sandbox: Sandbox, ear: Ear) -> None:
    assert sandbox.run("Look.").ok
    ear.check()


def test_batch(sandbox: Sandbox, ear: Ear) -> None:
    assert [result.ok for result in sandbox.batch(["One.", "Two."])] == [True, True]
    ear.check(runs=2)


def test_arun_and_abatch_and_a_coroutine_function(sandbox: Sandbox, ear: Ear) -> None:
    async def listen(event: SandboxEvent) -> None:
        await asyncio.sleep(0)
        ear(event)

    async def scenario() -> None:
        assert (await sandbox.arun("Look.")).ok
        sandbox.on_event = listen
        assert (await sandbox.abatch(["Look."]))[0].ok

    asyncio.run(scenario())
    ear.check(runs=2)


def test_a_reader_that_stops_early_leaves_the_rest_to_the_result(sandbox: Sandbox, ear: Ear) -> None:
    with sandbox.start("Look.") as handle:
        for event in handle.events():
            if event.type == "model_call_started":
                break
        assert handle.result().ok
    ear.check()


def test_the_example() -> None:
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert 'uses{tool="read",status="error"} 2\n' in done.stdout
    assert done.stdout.endswith('runs{status="completed"} 2\n')


def test_a_tool_and_a_function_that_fails(sandbox: Sandbox, ear: Ear, caplog: pytest.LogCaptureFixture) -> None:
    def listen(event: SandboxEvent) -> None:
        ear(event)
        msg = "broken"
        raise RuntimeError(msg)

    sandbox.on_event = listen
    assert "completed" in SandboxTool(sandbox=sandbox).invoke({"task": "Look."})
    ear.check()
    assert len([record for record in caplog.records if "on_event failed" in record.message]) == 1
