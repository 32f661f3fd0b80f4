"""The graph that asks a person before it applies a run's changes: alone, in other graphs, sync and async."""

from __future__ import annotations

import asyncio
import operator
from pathlib import Path
from typing import Annotated, Any

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send
from support import bash, git, make_repository, say, write
from typing_extensions import TypedDict

from langchain_sandbox import Sandbox, SandboxResult, SandboxState, create_sandbox_graph
from langchain_sandbox.testing import ScriptedModel

THREAD: Any = {"configurable": {"thread_id": "thread"}}
ASK: Any = {"messages": [HumanMessage("Work.")]}
MENDED = "def add(a, b):\n    return a + b\n"


def ask(app: Any, given: Any, *, awaited: bool) -> dict[str, Any]:
    """Call a graph in one of the two ways."""
    if not awaited:
        return app.invoke(given, THREAD)

    async def call() -> dict[str, Any]:
        with blockbuster_ctx("langchain_sandbox"):
            return await app.ainvoke(given, THREAD)

    return asyncio.run(call())


def answer(state: dict[str, Any]) -> Any:
    (asked,) = state["__interrupt__"]
    return asked.value


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_what_is_accepted_is_applied(
    repository: Path,
    awaited: bool,  # noqa: FBT001 - the two ways to call a graph
) -> None:
    with ScriptedModel([write("calc.py", MENDED), say("It adds.")]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        app = create_sandbox_graph(sandbox=sandbox, review=True, checkpointer=InMemorySaver())
        asked = ask(app, ASK, awaited=awaited)
        assert git(repository, "status", "--porcelain") == ""
        done = ask(app, Command(resume={"type": "accept", "comment": "Fine."}), awaited=awaited)
        assert len(model.requests) == 2
    (pending,), (applied,) = asked["sandbox_results"], done["sandbox_results"]
    question = answer(asked)
    assert question["summary"] == f"Sandbox run {pending['run_id']} changed 1 file (+1 -1). Apply this to {repository}?"
    assert (question["patch"], question["again"]) == (pending["patch"], None)
    assert "not applied; a person decides about them" in asked["messages"][-1].text
    assert "applied to the workspace" in done["messages"][-1].text
    assert [message.id for message in asked["messages"]] == [message.id for message in done["messages"]]
    assert applied == {**pending, "applied": True, "review": {"decision": "accept", "comment": "Fine."}}
    assert SandboxResult.model_validate(applied).model_dump(mode="json") == applied
    assert set(app.get_state(THREAD).values) == {"messages", "sandbox_results"}
    assert (repository / "calc.py").read_text() == MENDED


def test_what_does_not_fit_any_more_is_asked_about_again(repository: Path) -> None:
    with ScriptedModel([write("calc.py", MENDED), say()]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        app = create_sandbox_graph(sandbox=sandbox, review=True, checkpointer=InMemorySaver())
        first = answer(app.invoke(ASK, THREAD))
        (repository / "calc.py").write_text("def add(a, b):\n    return sum((a, b))\n")
        again = answer(app.invoke(Command(resume="accept"), THREAD))
        assert "calc.py" in again["again"]
        assert again == {**first, "again": again["again"]}
        assert (repository / "calc.py").read_text() == "def add(a, b):\n    return sum((a, b))\n"
        git(repository, "checkout", "calc.py")
        (result,) = app.invoke(Command(resume="accept"), THREAD)["sandbox_results"]
    assert (result["applied"], result["review"]["decision"]) == (True, "accept")
    assert (repository / "calc.py").read_text() == MENDED


def test_what_is_rejected_stays_outside_and_the_thread_goes_on(repository: Path) -> None:
    script = [write("new.txt", "new\n"), say(), say("Nothing to do."), {"text": ["half"], "fault": "cut"}]
    with ScriptedModel(script) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        app = create_sandbox_graph(sandbox=sandbox, review=True, checkpointer=InMemorySaver())
        app.invoke(ASK, THREAD)
        rejected = app.invoke(Command(resume={"type": "reject", "comment": "No\nfile."}), THREAD)
        unchanged = app.invoke(ASK, THREAD)
        failed = app.invoke(ASK, THREAD)
    assert "not applied; a person has rejected them: No file." in rejected["messages"][-1].text
    assert "__interrupt__" not in {**rejected, **unchanged, **failed}
    assert [(result["status"], result["review"]) for result in failed["sandbox_results"]] == [
        ("completed", {"decision": "reject", "comment": "No\nfile."}),
        ("completed", None),
        ("model_error", None),
    ]
    assert not (repository / "new.txt").exists()
    assert git(repository, "status", "--porcelain") == ""


class Parent(TypedDict):
    """The state of somebody's graph, whose list doubles whatever comes twice."""

    messages: Annotated[list[AnyMessage], add_messages]
    sandbox_results: Annotated[list[dict[str, Any]], operator.add]


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_in_a_graph_of_a_graph_each_is_asked_about_and_answered_by_its_id(
    tmp_path: Path,
    awaited: bool,  # noqa: FBT001 - the two ways to call a graph
) -> None:
    folders = {name: make_repository(tmp_path / name, {"a.txt": name}) for name in ("one", "two")}

    def work(messages: list) -> dict:
        return say() if messages[-1]["role"] == "tool" else bash("echo more >> a.txt && git commit -qam more")

    def fan_out(_: SandboxState) -> list[Send]:
        return [Send("mend", {"sandbox_task": {"task": "Work.", "workspace": name}}) for name in folders]

    with ScriptedModel(work) as model:
        mend = create_sandbox_graph(sandbox=Sandbox(model=model.endpoint), workspaces=folders, review=True)
        inner = StateGraph(SandboxState)
        inner.add_node("mend", mend)
        inner.add_conditional_edges(START, fan_out, ["mend"])
        outer = StateGraph(Parent)
        outer.add_node("team", inner.compile())
        outer.add_edge(START, "team")
        app = outer.compile(checkpointer=InMemorySaver())
        asked = ask(app, ASK, awaited=awaited)["__interrupt__"]
        ids = {Path(each.value["workspace"]).name: each.id for each in asked}
        assert sorted(ids) == ["one", "two"]
        (left,) = ask(app, Command(resume={ids["two"]: "accept"}), awaited=awaited)["__interrupt__"]
        assert left.id == ids["one"]
        done = ask(app, Command(resume={ids["one"]: {"type": "reject"}}), awaited=awaited)
        assert len(model.requests) == 4
    results = {Path(result["workspace"]["root"]).name: result for result in done["sandbox_results"]}
    assert len(done["sandbox_results"]) == 2
    assert {name: result["review"]["decision"] for name, result in results.items()} == {
        "one": "reject",
        "two": "accept",
    }
    assert len(done["messages"]) == 3
    assert [(folders[name] / "a.txt").read_text() for name in ("one", "two")] == ["one", "twomore\n"]
    assert git(folders["two"], "log", "--format=%s").splitlines() == ["more", "first"]


def test_without_a_review_it_is_the_node(repository: Path) -> None:
    with ScriptedModel([write("new.txt", "new\n"), say()]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        state = create_sandbox_graph(sandbox=sandbox, changes="apply").invoke(ASK)
    assert (state["sandbox_results"][0]["applied"], state["sandbox_results"][0]["review"]) == (True, None)
    assert (repository / "new.txt").read_text() == "new\n"


def revise(messages: list) -> dict:
    """Writes what was asked for, and what a comment asks for too."""
    if messages[-1]["role"] == "tool":
        return say()
    if "Test it." in str(messages):
        return write("test_new.py", "assert True\n")
    return write("new.txt", "new\n")


def test_another_run_goes_on_from_the_changes(repository: Path) -> None:
    with ScriptedModel(revise) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        app = create_sandbox_graph(sandbox=sandbox, review=True, checkpointer=InMemorySaver())
        first = answer(app.invoke(ASK, THREAD))
        second = answer(app.invoke(Command(resume={"type": "changes", "comment": "Test it."}), THREAD))
        done = app.invoke(Command(resume="accept"), THREAD)
        assert len(model.requests) == 4
        later = app.invoke({"sandbox_task": "Work once more."}, THREAD)
    assert [file["path"] for file in first["files"]] == ["new.txt"]
    assert [file["path"] for file in second["files"]] == ["new.txt", "test_new.py"]
    assert second["again"] is None
    revised = [result["settings"]["revises"] for result in later["sandbox_results"]]
    assert revised == [None, first["run_id"], None]
    assert [(result["applied"], result["review"]) for result in done["sandbox_results"]] == [
        (False, {"decision": "changes", "comment": "Test it."}),
        (True, {"decision": "accept", "comment": ""}),
    ]
    told = [message.text for message in done["messages"][1:]]
    assert "a person wants others: Test it." in told[0]
    assert "applied to the workspace" in told[1]
    assert len(told) == 2
    assert (repository / "test_new.py").read_text() == "assert True\n"


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_where_no_run_can_go_on_from_the_changes_the_question_comes_again(
    repository: Path,
    awaited: bool,  # noqa: FBT001 - the two ways to call a graph
) -> None:
    with ScriptedModel([write("calc.py", MENDED), say()]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        app = create_sandbox_graph(sandbox=sandbox, review=True, checkpointer=InMemorySaver())
        ask(app, ASK, awaited=awaited)
        (repository / "calc.py").write_text("def add(a, b):\n    return sum((a, b))\n")
        changes = Command(resume={"type": "changes", "comment": "Test it."})
        again = answer(ask(app, changes, awaited=awaited))
        assert "calc.py" in again["again"]
        (result,) = ask(app, Command(resume="reject"), awaited=awaited)["sandbox_results"]
        assert len(model.requests) == 2
    assert result["review"]["decision"] == "reject"


def test_after_a_revision_that_failed_the_changes_from_before_can_be_accepted(repository: Path) -> None:
    with ScriptedModel([write("calc.py", MENDED), say(), {"fault": "unauthorized"}]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        app = create_sandbox_graph(sandbox=sandbox, review=True, checkpointer=InMemorySaver())
        first = answer(app.invoke(ASK, THREAD))
        again = answer(app.invoke(Command(resume={"type": "changes", "comment": "Test it."}), THREAD))
        done = app.invoke(Command(resume="accept"), THREAD)
    assert (again["run_id"], again["patch"]) == (first["run_id"], first["patch"])
    assert "ended as model_error" in again["again"]
    kept, failed = done["sandbox_results"]
    assert (kept["applied"], kept["review"]["decision"], failed["status"]) == (True, "accept", "model_error")
    assert (repository / "calc.py").read_text() == MENDED


def test_in_a_graph_an_answer_counts_for_the_question_that_it_was_given_to(repository: Path) -> None:
    def work(messages: list) -> dict:
        if messages[-1]["role"] == "tool":
            return say()
        no_hook = bash("rm -rf .husky && echo new > new.txt")
        return no_hook if "No hook." in str(messages) else write(".husky/pre-commit", "true\n")

    with ScriptedModel(work) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        graph = StateGraph(SandboxState)
        graph.add_node("mend", create_sandbox_graph(sandbox=sandbox, review=True))
        graph.add_edge(START, "mend")
        app = graph.compile(checkpointer=InMemorySaver())
        app.invoke(ASK, THREAD)
        (refused,) = app.invoke(Command(resume="accept"), THREAD)["__interrupt__"]
        assert ".husky" in refused.value["again"]
        changes = {"type": "changes", "comment": "No hook."}
        (second,) = app.invoke(Command(resume={refused.id: changes}), THREAD)["__interrupt__"]
        assert second.value["run_id"] != refused.value["run_id"]
        assert git(repository, "status", "--porcelain") == ""
        for given in (None, Command(resume="accept")):
            (same,) = app.invoke(given, THREAD)["__interrupt__"]
            assert same.id == second.id
            assert "by this question's id" in same.value["again"]
        assert len(model.requests) == 4
        assert git(repository, "status", "--porcelain") == ""
        done = app.invoke(Command(resume={same.id: "accept"}), THREAD)
    assert [result["applied"] for result in done["sandbox_results"]] == [False, True]
    assert git(repository, "status", "--porcelain") == "?? new.txt"
