"""A step that is taken again does not repeat its run: after an interrupt, a kill, and while somebody else has it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt
from support import bash, containers, git, say, write

from langchain_sandbox import Sandbox, SandboxNode, SandboxResult, SandboxState
from langchain_sandbox.testing import ScriptedModel

PROCESS = Path(__file__).with_name("graph_process.py")
THREAD: Any = {"configurable": {"thread_id": "thread"}}
ASK: Any = {"messages": [HumanMessage("Work.")]}


class Process:
    """A graph's process; `wait_for` reads what it says until it says something."""

    def __init__(self, database: Path, what: str, model: ScriptedModel, repository: Path, **settings: str) -> None:
        environment = os.environ | settings
        environment |= {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url, "SANDBOX_WORKSPACE": str(repository)}
        command = [sys.executable, str(PROCESS), str(database), what]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_for(self, words: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if words in line:
                return line
        pytest.fail(f"it ended with {self._process.wait()} and never said {words!r}")

    def kill(self) -> int:
        self._process.kill()
        return self.wait()

    def wait(self) -> int:
        return self._process.wait(120)

    def state(self) -> tuple[list[dict[str, Any]], list[str]]:
        results, texts = json.loads(self.wait_for('[[{"schema_version"'))
        assert self.wait() == 0
        return results, texts


def test_a_process_that_is_killed_between_the_runs_end_and_the_checkpoint(tmp_path: Path, repository: Path) -> None:
    database = tmp_path / "threads.sqlite"
    script = [write("new.txt", "new\n"), bash("git add . && git commit -qm new"), say()]
    with ScriptedModel(script) as model:
        with Process(database, "die", model, repository, SANDBOX_CHANGES="apply") as first:
            assert first.wait() == -signal.SIGKILL
        with Process(database, "resume", model, repository, SANDBOX_CHANGES="apply") as second:
            results, texts = second.state()
        assert len(model.requests) == len(script)
        assert not model.errors
    assert [(result["status"], result["applied"]) for result in results] == [("completed", True)]
    assert len(texts) == 2
    assert git(repository, "log", "--format=%s").splitlines() == ["new", "first"]


def test_a_process_that_is_killed_during_the_run_has_it_run_again(
    tmp_path: Path, repository: Path, client: Any
) -> None:
    database = tmp_path / "threads.sqlite"
    asked = []

    def answer(_: list) -> dict:
        asked.append(1)
        return bash("sleep 600") if len(asked) == 1 else say("At last.")

    with ScriptedModel(answer) as model:
        with Process(database, "run", model, repository) as first:
            first.wait_for("tool_started")
            first.kill()
        with Process(database, "resume", model, repository) as second:
            results, _ = second.state()
    assert [result["text"] for result in results] == ["At last."]
    assert len(asked) == 2
    assert containers(client) == []


def test_a_step_that_another_process_works_on_is_waited_for(tmp_path: Path, repository: Path) -> None:
    database = tmp_path / "threads.sqlite"
    go_on = threading.Event()

    def answer(_: list) -> dict:
        go_on.wait(120)
        return say("One run for both.")

    with ScriptedModel(answer) as model, Process(database, "run", model, repository) as first:
        first.wait_for("started")
        with Process(database, "resume", model, repository) as second:
            second.wait_for("under way elsewhere")
            go_on.set()
            (mine,), _ = first.state()
            (theirs,), _ = second.state()
        assert len(model.requests) == 1
    assert mine == theirs
    assert mine["text"] == "One run for both."


def test_a_state_is_what_strict_checkpoints_take(tmp_path: Path, repository: Path) -> None:
    database = tmp_path / "threads.sqlite"
    with (
        ScriptedModel([write("é.txt", "é\n"), say("Wrote \ud800.")]) as model,
        Process(database, "run", model, repository, LANGGRAPH_STRICT_MSGPACK="true") as process,
    ):
        results, texts = process.state()
    result = SandboxResult.model_validate(results[0])
    assert result.ok
    assert result.model_dump(mode="json") == results[0]
    assert result.run_id in texts[1]


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_a_node_that_asks_a_person_after_its_run_has_run_once(
    repository: Path,
    awaited: bool,  # noqa: FBT001 - the two ways to call a graph
) -> None:
    def ask(state: SandboxState) -> dict[str, Any]:
        return decide(node.invoke(state))

    async def aask(state: SandboxState) -> dict[str, Any]:
        return decide(await node.ainvoke(state))

    def decide(update: dict[str, Any]) -> dict[str, Any]:
        return {**update, "sandbox_task": interrupt(update["sandbox_results"][0]["run_id"])}

    with ScriptedModel([say()]) as model:
        node = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        graph = StateGraph(SandboxState)
        graph.add_node("ask", aask if awaited else ask)
        graph.add_edge(START, "ask")
        app = graph.compile(checkpointer=InMemorySaver())
        states = [
            asyncio.run(app.ainvoke(given, THREAD)) if awaited else app.invoke(given, THREAD)
            for given in (ASK, Command(resume="apply it"))
        ]
        assert not model.errors
    (asked,) = states[0]["__interrupt__"]
    assert states[1]["sandbox_results"][0]["run_id"] == asked.value
    assert states[1]["sandbox_task"] == "apply it"


def test_a_failed_run_is_not_repeated_either_and_a_cancelled_one_is(repository: Path) -> None:
    async def scenario(app: Any) -> list[dict[str, Any]]:
        async for _, part in app.astream(ASK, THREAD, stream_mode=["custom"]):
            if part["sandbox"]["type"] == "tool_started":
                break
        await app.ainvoke(None, THREAD)
        return (await app.ainvoke(Command(resume=""), THREAD))["sandbox_results"]

    async def run(state: SandboxState) -> dict[str, Any]:
        update = await node.ainvoke(state)
        interrupt("")
        return update

    with ScriptedModel([bash("sleep 600"), {"text": ["half"], "fault": "cut"}]) as model:
        node = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        graph = StateGraph(SandboxState)
        graph.add_node("run", run)
        graph.add_edge(START, "run")
        results = asyncio.run(scenario(graph.compile(checkpointer=InMemorySaver())))
        assert not model.errors
    assert [result["ending"]["code"] for result in results] == ["answer_cut"]


def test_a_run_whose_model_was_away_is_tried_again_by_a_retry(repository: Path) -> None:
    with ExitStack() as stack:
        gone = stack.enter_context(ScriptedModel([], fault="refused"))
        node = SandboxNode(sandbox=Sandbox(model=gone.endpoint, workspace=repository))

        def run(state: SandboxState) -> dict[str, Any]:
            update = node.invoke(state)
            if not update["sandbox_results"][0]["ok"]:
                gone.close()
                port = urlsplit(gone.endpoint.base_url).port
                stack.enter_context(ScriptedModel([say("Here again.")], port=port))
                raise ConnectionError(update["sandbox_results"][0]["status"])
            return update

        graph = StateGraph(SandboxState)
        graph.add_node("run", run, retry_policy=RetryPolicy(initial_interval=0.01, max_attempts=2))
        graph.add_edge(START, "run")
        assert graph.compile().invoke(ASK)["sandbox_results"][0]["text"] == "Here again."


def test_without_a_store_each_step_runs(repository: Path) -> None:
    def run(state: SandboxState) -> dict[str, Any]:
        update = node.invoke(state)
        interrupt("")
        return update

    with ScriptedModel([say("First."), say("Second.")]) as model:
        node = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository), store=None)
        graph = StateGraph(SandboxState)
        graph.add_node("run", run)
        graph.add_edge(START, "run")
        app = graph.compile(checkpointer=InMemorySaver())
        app.invoke(ASK, THREAD)
        state = app.invoke(Command(resume=""), THREAD)
    assert state["sandbox_results"][0]["text"] == "Second."
