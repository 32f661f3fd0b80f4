"""A step's key: the same when LangGraph takes a step again, another one for everything else."""

from __future__ import annotations

import asyncio
import gc
import operator
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import ExecutionInfo
from langgraph.types import Command, RetryPolicy, Send, interrupt

from langchain_sandbox import Sandbox, SandboxUnavailableError, runs_once
from langchain_sandbox.run_store import DirectoryClaim, DirectoryRunStore
from langchain_sandbox.runs_once import _find_step, arun_once, build_key, run_once
from langchain_sandbox.workspace_config import Retention, Workspace

THREAD: RunnableConfig = {"configurable": {"thread_id": "thread"}}
STEP = ExecutionInfo(checkpoint_id="c", checkpoint_ns="node:t", task_id="t", thread_id="thread")


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))
    return Sandbox(model="http://127.0.0.1:9/v1", timeout=1)


class State(TypedDict, total=False):
    count: Annotated[int, operator.add]
    item: int


class Recorder(Runnable[Any, Any]):
    """A node that notes its step, and then does what it is told."""

    name = "node"

    def __init__(self, then: Callable[[int], object] = lambda _: None) -> None:
        self.steps: list[tuple[Any, ...]] = []
        self._then = then

    def invoke(self, input: Any, config: Any = None, **_: Any) -> Any:  # noqa: A002, ARG002 - LangChain's own
        step = _find_step()
        assert step is not None
        self.steps.append((step.thread_id, step.checkpoint_ns, step.task_id))
        self._then(len(self.steps))
        return {"count": 1}


def build(node: Recorder, *, saver: Any = None, **options: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("node", node, **options)
    graph.add_edge(START, "node")
    return graph.compile(checkpointer=saver)


def test_a_retry_is_the_same_step_with_and_without_a_checkpointer() -> None:
    def fail_once(number: int) -> None:
        if number == 1:
            raise SandboxUnavailableError

    for saver in (None, InMemorySaver()):
        node = Recorder(fail_once)
        build(node, saver=saver, retry_policy=RetryPolicy(initial_interval=0, jitter=False)).invoke({}, THREAD)
        assert len(node.steps) == 2
        assert len(set(node.steps)) == 1


def test_a_resume_after_an_error_and_after_an_interrupt_is_the_same_step() -> None:
    def fail_once(number: int) -> None:
        if number == 1:
            raise ValueError(number)

    node = Recorder(fail_once)
    graph = build(node, saver=InMemorySaver())
    with pytest.raises(ValueError, match="1"):
        graph.invoke({}, THREAD)
    graph.invoke(None, THREAD)
    assert len(node.steps) == 2
    assert len(set(node.steps)) == 1

    node = Recorder(lambda _: interrupt("May I?"))
    graph = build(node, saver=InMemorySaver())
    graph.invoke({}, THREAD)
    graph.invoke(Command(resume="yes"), THREAD)
    assert len(node.steps) == 2
    assert len(set(node.steps)) == 1


def test_another_invocation_is_another_step() -> None:
    for saver in (None, InMemorySaver()):
        node = Recorder()
        graph = build(node, saver=saver)
        for _ in range(2):
            graph.invoke({}, THREAD)
        assert len(set(node.steps)) == 2


def test_each_round_of_a_loop_and_each_send_is_a_step_of_its_own() -> None:
    node = Recorder()
    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_conditional_edges(START, lambda _: [Send("node", {"item": 7}), Send("node", {"item": 7})])
    graph.add_conditional_edges("node", lambda state: "node" if state["count"] < 4 else END)
    graph.compile().invoke({})
    assert len(node.steps) == 4
    assert len(set(node.steps)) == 4


def test_going_back_in_time_is_another_step() -> None:
    node = Recorder()
    graph = build(node, saver=InMemorySaver())
    graph.invoke({}, THREAD)
    before = next(state for state in graph.get_state_history(THREAD) if state.next == ("node",))
    graph.invoke(None, before.config)
    assert len(set(node.steps)) == 2


def test_outside_of_a_graph_there_is_no_step() -> None:
    assert _find_step() is None
    assert RunnableLambda(lambda _: _find_step()).invoke("") is None


def test_the_key_is_made_of_the_step_and_of_what_is_asked_for(sandbox: Sandbox, tmp_path: Path) -> None:
    first = {"task": "Work."}
    assert build_key(STEP, sandbox, first) == build_key(STEP, sandbox, {"task": "Work.", "timeout": 9})
    keys = [
        build_key(STEP, sandbox, first),
        *(
            build_key(replace(STEP, **{part: "other"}), sandbox, first)
            for part in ("thread_id", "checkpoint_ns", "task_id")
        ),
        build_key(STEP, sandbox, first, call_id="call-1"),
        build_key(STEP, sandbox, {"task": "Rest."}),
        build_key(STEP, sandbox, {"command": "work"}),
        build_key(STEP, sandbox, {"command": "work", "arguments": {"a": 1, "b": 2}}),
        build_key(STEP, sandbox, {"task": "Work.", "workspace": tmp_path}),
        build_key(STEP, sandbox, {"task": "Work.", "workspace": Workspace(tmp_path, history=0)}),
        build_key(STEP, sandbox, {"task": "Work.", "changes": "apply"}),
        build_key(STEP, sandbox, {"task": "Work.", "output": {"type": "object"}}),
    ]
    assert len(set(keys)) == len(keys)
    again = build_key(STEP, sandbox, {"command": "work", "arguments": {"b": 2, "a": 1}})
    assert again == keys[7]


def wait_in_vain(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]) -> None:
    """Run in a step whose key somebody else has."""
    monkeypatch.setattr(runs_once, "_GRACE", -0.9)
    store = DirectoryRunStore()
    claims: list[Any] = []

    def hold(_: int) -> None:
        step = _find_step()
        assert step is not None
        claims.append(store.claim(build_key(step, sandbox, {"task": "Work."})))
        with pytest.raises(SandboxUnavailableError, match="under way elsewhere"):
            run(store)

    build(Recorder(hold)).invoke({})
    assert claims[0] is not None


def test_a_step_that_somebody_else_has_for_too_long_is_refused(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_in_vain(sandbox, monkeypatch, lambda store: run_once(sandbox, {"task": "Work."}, store=store, emit=print))


def test_so_it_is_in_an_event_loop(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    async def emit(_: object) -> None: ...

    def run(store: DirectoryRunStore) -> None:
        asyncio.run(arun_once(sandbox, {"task": "Work."}, store=store, emit=emit))

    wait_in_vain(sandbox, monkeypatch, run)


def test_where_nothing_is_to_be_kept_of_runs_no_result_is(sandbox: Sandbox) -> None:
    sandbox.retention = Retention(runs=0)
    keys: list[Any] = []
    step = Recorder(lambda _: keys.append(runs_once._find_key(sandbox, {"task": "x"}, DirectoryRunStore(), None)))
    build(step).invoke({})
    sandbox.retention = Retention()
    build(step).invoke({})
    assert keys[0] is None
    assert len(keys[1]) == 64


class SlowStore(DirectoryRunStore):
    """Takes a key when whoever asked for it has given up."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.given_up, self.taken = threading.Event(), threading.Event(), threading.Event()

    def claim(self, key: str) -> DirectoryClaim | None:
        self.asked.set()
        self.given_up.wait(60)
        claim = super().claim(key)
        self.taken.set()
        return claim


def test_a_key_that_is_taken_for_somebody_who_has_given_up_is_free_again(sandbox: Sandbox) -> None:
    store = SlowStore()
    keys: list[str] = []

    async def emit(_: object) -> None: ...

    async def give_up() -> None:
        running = asyncio.create_task(arun_once(sandbox, {"task": "Work."}, store=store, emit=emit))
        await asyncio.to_thread(store.asked.wait, 60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        store.given_up.set()
        await asyncio.to_thread(store.taken.wait, 60)

    def step(_: int) -> None:
        found = _find_step()
        assert found is not None
        keys.append(build_key(found, sandbox, {"task": "Work."}))
        asyncio.run(give_up())

    build(Recorder(step)).invoke({})
    gc.collect()
    assert DirectoryRunStore().claim(keys[0]) is not None
