"""Which session a thread's task goes into, and which ones end for others. No task begins here, so no container does."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.runnables import RunnableLambda

from langchain_sandbox import (
    Sandbox,
    SandboxConfigError,
    SandboxNode,
    SandboxTool,
    SandboxToolkit,
    Workspace,
    create_sandbox_graph,
)
from langchain_sandbox.thread_sessions import ThreadSessions, find_thread

if TYPE_CHECKING:
    from langchain_sandbox import Session


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(model="http://127.0.0.1:9/v1")


@pytest.fixture
def threads(sandbox: Sandbox) -> ThreadSessions:
    return ThreadSessions(sandbox._begin_session, most=2)


def get(threads: ThreadSessions, thread: str, path: Path | None = None) -> tuple[Session, bool]:
    return threads.get(thread, Workspace(path) if path else None, ttl=60)


def test_a_thread_has_one_for_each_workspace(threads: ThreadSessions, tmp_path: Path) -> None:
    first, again = get(threads, "a")
    assert (again, first.idle) == (False, 60)
    assert get(threads, "a") == (first, False)
    other, again = get(threads, "a", tmp_path)
    assert (other is first, again, other.workspace) == (False, False, Workspace(tmp_path))


def test_what_is_over_is_begun_anew_and_said_once(threads: ThreadSessions) -> None:
    first, _ = get(threads, "a")
    first.close()
    assert first.over
    second, again = get(threads, "a")
    assert (second is first, again) == (False, True)
    assert get(threads, "a") == (second, True)  # a task that could not begin has told nobody
    threads.note("a", None)
    assert get(threads, "a") == (second, False)


def test_the_one_that_was_used_the_longest_time_ago_gives_way(threads: ThreadSessions) -> None:
    (a, _), (b, _) = get(threads, "a"), get(threads, "b")
    assert get(threads, "a") == (a, False)
    c, _ = get(threads, "c")
    assert (a.over, b.over, c.over) == (False, True, False)
    assert get(threads, "b")[1]
    assert (a.over, c.over) == (True, False)


def test_one_thread_can_be_ended_by_itself(threads: ThreadSessions) -> None:
    (a, _), (b, _) = get(threads, "a"), get(threads, "b")
    threads.end("a")
    threads.end("unknown")
    assert (a.over, b.over) == (True, False)
    assert get(threads, "a")[1]


def test_closing_ends_all_and_others_may_come(threads: ThreadSessions) -> None:
    (a, _), (b, _) = get(threads, "a"), get(threads, "b")
    threads.close()
    assert (a.over, b.over) == (True, True)
    c, _ = get(threads, "c")
    asyncio.run(threads.aclose())
    assert c.over


def test_a_sandbox_keeps_them_for_itself(sandbox: Sandbox) -> None:
    first, _ = get(sandbox.threads, "a")
    assert get(sandbox.threads, "a") == (first, False)
    for other in (copy.copy(sandbox), copy.deepcopy(sandbox), pickle.loads(pickle.dumps(sandbox))):
        assert get(other.threads, "a")[0] is not first
    with sandbox:
        pass
    assert first.over


def test_a_forked_child_begins_with_none(threads: ThreadSessions) -> None:
    first, _ = get(threads, "a")
    child = os.fork()
    if child == 0:
        session, again = get(threads, "a")
        os._exit(0 if session is not first and not again else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert get(threads, "a") == (first, False)


def test_the_thread_is_the_callers_graphs() -> None:
    step: Any = RunnableLambda(lambda _: find_thread())
    assert find_thread() is None
    assert step.invoke(0) is None
    assert step.invoke(0, {"configurable": {"thread_id": 7}}) == "7"


def test_a_mounted_folder_has_none(threads: ThreadSessions, tmp_path: Path) -> None:
    with pytest.raises(SandboxConfigError, match="A session works on a copy"):
        threads.get("a", Workspace(tmp_path, mode="bind"), ttl=60)


@pytest.mark.parametrize("ttl", [0, -1, float("inf"), "soon"])
def test_a_time_that_is_none_is_refused_at_once(ttl: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    for make in (
        lambda: SandboxNode(sandbox=sandbox, session_ttl=ttl),
        lambda: create_sandbox_graph(sandbox=sandbox, session_ttl=ttl),
        lambda: SandboxTool(sandbox=sandbox, session_ttl=ttl),
        lambda: SandboxToolkit.from_repo(tmp_path, sandbox=sandbox, session_ttl=ttl),
    ):
        with pytest.raises(ValueError, match="session_ttl"):
            make()
