"""The question about a run's changes, the answers that are taken, and the graph around them, without a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from langchain_core.messages import AIMessage
from pages import DOCS, read_between
from pydantic import TypeAdapter, ValidationError
from runs import make_result

from langchain_sandbox import (
    ApplyPolicy,
    Sandbox,
    SandboxConfigError,
    SandboxDecision,
    Workspace,
    add_results,
    create_sandbox_graph,
    describe_result,
)
from langchain_sandbox.graph.decision import DECISION_SCHEMA, MAX_COMMENT
from langchain_sandbox.graph.node import build_update
from langchain_sandbox.graph.plain_answer import PlainAnswer, is_spent
from langchain_sandbox.graph.question import SandboxReview, build_review, is_open
from langchain_sandbox.graph.review_steps import describe_failed_revision, describe_refused, find_result, route
from langchain_sandbox.result import (
    Commit,
    FileChange,
    PatchReference,
    Review,
    SandboxResult,
    Settings,
    WorkspaceState,
)

SHOP = WorkspaceState(root="/home/ada/shop")
MODEL = "http://127.0.0.1:8000/v1"


def change(path: str, *risks: str, **fields: Any) -> FileChange:
    usual = {"kind": "modified", "insertions": 2, "deletions": 1}
    return FileChange(path=path, risks=list(risks), **{**usual, **fields})


def commit(subject: str, *risks: str) -> Commit:
    return Commit(id="c" * 40, subject=subject, author="opencode", email="", date="", risks=list(risks))


def changed(*files: FileChange, **fields: Any) -> SandboxResult:
    return make_result(files=list(files), **{"workspace": SHOP, "patch": "diff", **fields})


def test_the_question_says_what_changed_and_what_deserves_a_second_look_first() -> None:
    files = [change("b.py"), change("uv.lock", "lock_file"), change(".husky/pre-push", "hook", "executable")]
    review = build_review(changed(*files, commits=[commit("more", "hook")], text="Done."))
    assert review["summary"] == (
        "Sandbox run 0123456789ab changed 3 files (+6 -3) and made 1 commit. Apply this to /home/ada/shop?"
    )
    assert review["diffstat"] == {"files": 3, "insertions": 6, "deletions": 3, "commits": 1}
    assert [file["path"] for file in review["files"]] == [".husky/pre-push", "uv.lock", "b.py"]
    assert [(risk["name"], risk["refused"], risk["where"], risk["count"]) for risk in review["risks"]] == [
        ("hook", True, [".husky/pre-push", "commit cccccccccccc"], 2),
        ("executable", False, [".husky/pre-push"], 1),
        ("lock_file", False, ["uv.lock"], 1),
    ]
    assert (review["patch"], review["again"], review["text"]) == ("diff", None, "Done.")
    assert TypeAdapter(SandboxReview).validate_python(review) == review


def test_the_page_lists_what_is_in_the_question() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", read_between(DOCS / "review.md", "question"), re.MULTILINE)
    assert rows == list(SandboxReview.__annotations__) == list(build_review(changed(change("a"))))


def test_commits_alone_are_changes_too() -> None:
    review = build_review(changed(commits=[commit("one"), commit("two")], patch=""))
    assert review["summary"] == "Sandbox run 0123456789ab made 2 commits. Apply this to /home/ada/shop?"
    assert [each["subject"] for each in review["commits"]] == ["one", "two"]


def test_the_question_is_bounded_however_much_has_changed() -> None:
    files = [change(f"{'long' * 500}/{at}", "hook", "secret") for at in range(20_000)]
    commits = [commit("subject" * 1000, "hook") for _ in range(5_000)]
    result = changed(*files, commits=commits, patch="x" * 10_000_000, text="word " * 100_000)
    review = build_review(result, again="reason " * 100_000)
    assert len(json.dumps(review)) < 300_000
    assert review["diffstat"]["files"] == 20_000
    assert (len(review["files"]), len(review["commits"]), review["patch"]) == (100, 50, None)
    assert review["risks"][0]["count"] == 25_000


def test_a_patch_that_is_not_in_the_result_is_named() -> None:
    reference = PatchReference(path="/state/changes.patch", sha256="0" * 64, size=10**6)
    review = build_review(changed(change("a"), patch=None, patch_reference=reference))
    assert review["patch"] is None
    assert review["patch_reference"] == {"path": "/state/changes.patch", "sha256": "0" * 64, "size": 10**6}


def test_hostile_names_are_shown_and_do_nothing() -> None:
    files = [change("a\nb\x1b[31m\u202e.py", "hook", old_path="\ud800", kind="renamed")]
    review = build_review(changed(*files, commits=[commit("fix\x1b]0;\n\u200b")], text="\x1b[2Jall good\u202e"))
    (file,) = review["files"]
    assert file["path"] == r"a\nb\x1b[31m\u202e.py"
    assert review["risks"][0]["where"] == [file["path"]]
    assert review["commits"][0]["subject"] == r"fix\x1b]0;\n\u200b"
    assert review["text"] == "[2Jall good"
    json.dumps(review, ensure_ascii=False).encode("utf-8")


def test_the_policy_says_what_is_refused() -> None:
    result = changed(change(".husky/pre-push", "hook"))
    assert not build_review(result, risky="allow")["risks"][0]["refused"]
    assert describe_refused(result, ApplyPolicy(risky="allow")) is None
    reason = describe_refused(result, ApplyPolicy())
    assert reason is not None
    assert ".husky/pre-push runs when you commit or push" in reason
    assert '{"type": "accept", "risky": "allow"}' in reason
    assert describe_refused(changed(change("uv.lock", "lock_file")), ApplyPolicy()) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"files": [], "commits": [commit("x")]}, True),
        ({"files": []}, False),
        ({"ok": False, "status": "timeout"}, False),
        ({"workspace": WorkspaceState()}, False),
    ],
)
def test_a_question_is_asked_where_there_is_something_to_decide(
    fields: dict[str, Any],
    expected: bool,  # noqa: FBT001 - the answer
) -> None:
    assert is_open(make_result(**{"files": [change("a")], "workspace": SHOP, **fields})) is expected


def test_a_revision_that_fails_leaves_the_question_about_the_run_before() -> None:
    def state(*results: SandboxResult) -> dict[str, Any]:
        return {"sandbox_results": [result.model_dump(mode="json") for result in results]}

    first = changed(change("a"), run_id="a" * 12)
    second = make_result(run_id="b" * 12, settings=Settings(revises=first.run_id), workspace=SHOP)
    third = make_result(
        run_id="c" * 12,
        ok=False,
        status="timeout",
        settings=Settings(revises=second.run_id),
        ending={"code": "timeout", "message": "It took too long."},
    )
    other = make_result(run_id="d" * 12, files=[], workspace=SHOP)
    assert find_result(state(first, second)).run_id == first.run_id
    told = describe_failed_revision(state(first, second))
    assert told == "The other run, bbbbbbbbbbbb, left nothing changed. These are the changes from before it."
    assert find_result(state(first, second, third)).run_id == first.run_id
    told = describe_failed_revision(state(first, second, third))
    assert told is not None
    assert "cccccccccccc, ended as timeout: It took too long." in told
    assert route(state(first, second, third)) == "review"  # type: ignore[arg-type]
    assert describe_failed_revision(state(first)) is None
    assert find_result(state(first, other)).run_id == other.run_id
    assert route(state(first, other)) == "__end__"  # type: ignore[arg-type]
    assert find_result(state(third)).run_id == third.run_id


def test_an_answer_that_names_no_question_is_spent_on_one() -> None:
    def found(run_id: str, answer: Any) -> PlainAnswer:
        return {"run_id": run_id, "answer": answer}

    changes = {"type": "changes", "comment": "Test it."}
    assert not is_spent(found("a", changes), None)
    assert is_spent(found("a", changes), found("a", dict(changes)))
    assert is_spent(found("b", changes), found("a", changes))
    assert not is_spent(found("b", {"type": "changes", "comment": "Use tabs."}), found("a", changes))
    for accept in ("accept", {"type": "accept", "risky": "allow"}):
        assert not is_spent(found("a", accept), found("a", accept))
        assert is_spent(found("b", accept), found("a", accept))


def test_without_a_checkpointer_nothing_is_started(tmp_path: Path) -> None:
    graph = create_sandbox_graph(sandbox=Sandbox(model=MODEL, workspace=tmp_path), review=True)
    for thread in (None, {"configurable": {"thread_id": "1"}}):
        with pytest.raises(SandboxConfigError, match="needs a checkpointer"):
            graph.invoke({"sandbox_task": "Work.", "messages": []}, thread)  # type: ignore[arg-type]


CHECK = TypeAdapter(DECISION_SCHEMA)


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ("accept", {"type": "accept"}),
        ("reject", {"type": "reject"}),
        ({"type": "accept", "risky": "allow"}, {"type": "accept", "risky": "allow"}),
        ({"type": "reject", "comment": ""}, {"type": "reject", "comment": ""}),
        ({"type": "changes", "comment": " Use tabs. "}, {"type": "changes", "comment": "Use tabs."}),
    ],
)
def test_a_decision(answer: Any, decision: Any) -> None:
    assert CHECK.validate_python(answer) == decision


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("yes", "'accept', 'reject', 'changes'"),
        ({"type": "approve"}, "'accept', 'reject', 'changes'"),
        ({"type": "changes"}, "comment"),
        ({"type": "changes", "comment": " \n"}, "comment"),
        ({"type": "changes", "comment": "a\0b"}, "NUL"),
        ({"type": "changes", "comment": "x" * (MAX_COMMENT + 1)}, "at most"),
        ({"type": "accept", "risky": "yes"}, "risky"),
        ({"type": "reject", "coment": "No."}, "coment"),
        ({"decision": "accept"}, "a decision is"),
        (True, """a decision is "accept", "reject", or a dict such as .*, not True"""),
        ([{"type": "accept"}], "a decision is"),
        ({"decisions": [{"type": "approve"}]}, "a decision is"),
        (None, "a decision is"),
    ],
)
def test_what_is_no_decision(answer: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        CHECK.validate_python(answer)


def test_clients_are_shown_what_they_may_answer() -> None:
    schema = CHECK.json_schema()
    assert sorted(schema["discriminator"]["mapping"]) == ["accept", "changes", "reject"]
    review = build_review(changed(change("a")))
    assert sorted(review["allowed_decisions"]) == sorted(schema["discriminator"]["mapping"])
    assert len(get_args(SandboxDecision)) == len(review["allowed_decisions"])


def test_a_run_is_in_the_results_once() -> None:
    old = [{"run_id": "a"}, {"run_id": "b"}]
    assert add_results(old, [{"run_id": "a", "applied": True}, {"run_id": "c"}]) == [
        {"run_id": "a", "applied": True},
        {"run_id": "b"},
        {"run_id": "c"},
    ]
    assert add_results([], [{"run_id": "a"}, {"run_id": "a", "applied": True}]) == [{"run_id": "a", "applied": True}]
    assert old == [{"run_id": "a"}, {"run_id": "b"}]
    assert add_results(old, old) == old


def test_a_message_says_what_was_decided() -> None:
    result = changed(change("a"))
    told = {
        decision: describe_result(result.model_copy(update={"review": Review(decision=decision, comment="Not\nso.")}))
        for decision in ("reject", "changes")
    }
    assert "(not applied; a person has rejected them: Not so.):" in told["reject"]
    assert "(not applied; a person wants others: Not so.):" in told["changes"]
    applied = result.model_copy(update={"review": Review(decision="accept"), "applied": True})
    assert "(applied to the workspace):" in describe_result(applied)
    messages = [build_update(each, name="sandbox")["messages"][0] for each in (result, applied)]
    assert [(type(message), message.id) for message in messages] == [(AIMessage, "sandbox-0123456789ab")] * 2


def test_the_graph_is_drawn_as_it_goes(tmp_path: Path) -> None:
    graph = create_sandbox_graph(sandbox=Sandbox(model=MODEL, workspace=tmp_path), review=True, name="mend")
    edges = {(edge.source, edge.target) for edge in graph.get_graph().edges}
    assert edges == {
        ("__start__", "run"),
        ("run", "review"),
        ("run", "__end__"),
        ("review", "run"),
        ("review", "apply"),
        ("review", "__end__"),
        ("apply", "review"),
        ("apply", "__end__"),
    }
    assert graph.name == "mend"
    plain = create_sandbox_graph(sandbox=Sandbox(model=MODEL))
    assert {(edge.source, edge.target) for edge in plain.get_graph().edges} == {
        ("__start__", "run"),
        ("run", "__end__"),
    }


@pytest.mark.parametrize("review", [False, True])
def test_a_graph_describes_what_it_takes_and_gives_back(
    tmp_path: Path,
    review: bool,  # noqa: FBT001 - the two graphs
) -> None:
    graph = create_sandbox_graph(sandbox=Sandbox(model=MODEL, workspace=tmp_path), review=review)
    assert set(graph.get_input_jsonschema()["properties"]) == {"messages", "sandbox_task"}
    assert set(graph.get_output_jsonschema()["properties"]) == {"messages", "sandbox_results"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"changes": "apply"}, "'apply' cannot be"),
        ({"workspaces": {"shop": Workspace("shop", mode="bind")}}, "bind"),
        ({"review": False, "policy": ApplyPolicy()}, "review=True"),
        ({"arguments": "src"}, "command="),
        ({"checkpointer": True}, "its parent's"),
    ],
)
def test_options_that_cannot_work_are_refused_at_once(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    sandbox = Sandbox(model=MODEL, workspace=tmp_path)
    with pytest.raises(SandboxConfigError, match=told):
        create_sandbox_graph(**{"sandbox": sandbox, "review": True, **options})


def test_a_review_needs_a_workspace() -> None:
    with pytest.raises(SandboxConfigError, match="workspaces="):
        create_sandbox_graph(sandbox=Sandbox(model=MODEL), review=True)
    with pytest.raises(SandboxConfigError, match="bind"):
        create_sandbox_graph(sandbox=Sandbox(model=MODEL, workspace=Workspace("shop", mode="bind")), review=True)
