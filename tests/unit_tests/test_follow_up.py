"""The program in the container, given what has changed outside: it lays that down and tells changes from there."""

from __future__ import annotations

import gc
import os
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from copies import Copy, bring_in
from repositories import commit, forget_settings, git, init, write
from test_departure import tell
from wires import connect

from langchain_sandbox.agent.arrival import ArrivalError
from langchain_sandbox.agent.follow_up import FollowUp
from langchain_sandbox.agent.task import Task
from langchain_sandbox.config import Limits
from langchain_sandbox.link import WINDOW, Channel, Data, End, FileStream, LinkEvent, Message
from langchain_sandbox.workspace.inbound.intake import take_intake
from langchain_sandbox.workspace_config import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.agent.departure import Departure

FILES = Channel.FILES


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget_settings(monkeypatch, tmp_path / "home")
    folder = init(tmp_path / "repository")
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.org")
    commit(folder, a="a\n", b="b\n", **{"d/x": "x\n", ".gitignore": "*.log\nbuild\n"})
    return folder


@pytest.fixture
def copy(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copy:
    return bring_in(root, tmp_path / "inside", monkeypatch)


class Booted:
    """As much of OpenCode as a task that does not begin asks for."""

    endpoint = opencode = None
    session = "s"

    def expect(self) -> None:
        """Nothing to do."""


def change(path: str, content: str | None) -> list[LinkEvent]:
    if content is None:
        return [Message(FILES, FileStream.SEED, {"path": path, "kind": "deleted"})]
    body = {"path": path, "kind": "file", "executable": False}
    return [Message(FILES, FileStream.SEED, body), Data(FILES, FileStream.SEED, content.encode())]


def leave(copy: Copy) -> Departure:
    """A task's end."""
    leaving = copy.leave()
    assert leaving.finish() == {"skipped": []}
    copy.wire.take()
    return leaving


def follow(
    copy: Copy, leaving: Departure, *changes: list[LinkEvent], outside: Path | None = None, history: int = 50
) -> Copy:
    """The beginning of the next task.

    Args:
        copy: The task before.
        leaving: How it ended.
        changes: What the host has changed.
        outside: The host's repository, if its git is told anew.
        history: How many of its commits come.
    """
    coming = FollowUp(copy.wire, before=copy.arrival, departure=leaving)  # type: ignore[arg-type]
    said = [event for each in changes for event in each]
    described = None
    if outside is not None:
        intake = take_intake(Workspace(outside, history=history), Limits())
        assert intake.history is not None
        described = intake.history.describe()
        for stream, ending in ((FileStream.PACK, "pack"), (FileStream.PACK_INDEX, "idx")):
            content = (intake.history.folder / f"{intake.history.pack}.{ending}").read_bytes()
            said += [Data(FILES, stream, content), End(FILES, stream)]
        intake.close()
    coming.start({"git": described, "seed": bool(changes)})
    for event in [*said, *([End(FILES, FileStream.SEED)] if changes else [])]:
        coming.on_event(event)
    coming.wait()
    return Copy(copy.repository, coming, [], described, copy.wire)


def changed(copy: Copy) -> dict[str, Any]:
    copy.wire.take()
    leaving = copy.leave()
    leaving.finish()
    return tell(copy.wire.take())


def test_only_what_this_task_changes_is_told(copy: Copy) -> None:
    write(copy.folder, a="first\n", new="first\n")
    (copy.folder / "b").unlink()
    after = follow(copy, leave(copy))
    assert changed(after) == {}
    write(copy.folder, b="back\n", new="second\n")
    (copy.folder / "a").unlink()
    assert changed(after) == {"a": "deleted", "b": b"back\n", "new": b"second\n"}


def test_what_the_host_has_changed_is_in_place_and_no_change_of_the_agents(copy: Copy) -> None:
    write(copy.folder, a="agent's\n")
    after = follow(copy, leave(copy), change("d/x", None), change("a", "user's\n"), change("n/new", "user's\n"))
    assert (copy.folder / "a").read_text() == "user's\n"
    assert not (copy.folder / "d").exists()
    assert changed(after) == {}
    (copy.folder / "n/new").unlink()
    assert changed(after) == {"n/new": "deleted"}


def test_what_git_ignores_gives_way(copy: Copy) -> None:
    write(copy.folder, **{"b.log/deep/file": "x\n", "build": "a file\n"})
    (copy.folder / "a.log").symlink_to("d")
    after = follow(copy, leave(copy), *[change(path, "1\n") for path in ("b.log", "build/file", "a.log/file")])
    assert [(copy.folder / path).read_text() for path in ("b.log", "build/file", "a.log/file")] == ["1\n"] * 3
    assert (copy.folder / "d/x").read_text() == "x\n"
    assert changed(after) == {}


@pytest.mark.parametrize("path", ["../out", ".git/config", "d/../../out"])
def test_no_place_for_a_file_is_refused(path: str, copy: Copy) -> None:
    with pytest.raises(ArrivalError, match="is no place for a change"):
        follow(copy, leave(copy), change(path, "1\n"))
    assert (copy.repository / ".git").is_dir()


def test_git_is_as_it_is_outside_whatever_is_checked_out_inside(copy: Copy, root: Path) -> None:
    commit(copy.repository, "agent's", a="agent's\n")
    git(copy.repository, "checkout", "--quiet", "-b", "agent's")
    (copy.folder / "b").unlink()
    git(root, "checkout", "--quiet", "-b", "topic")
    commit(root, "user's", **{"d/x": "user's\n"})
    after = follow(copy, leave(copy), change("d/x", "user's\n"), outside=root)
    assert git(copy.repository, "branch", "--show-current") == "topic\n"
    assert git(copy.repository, "log", "--format=%s").splitlines() == ["user's", "x"]
    assert changed(after) == {}
    commit(copy.repository, "more", c="c\n")
    assert set(changed(after)) == {"c", "commits"}


def test_commits_are_told_once(copy: Copy) -> None:
    commit(copy.repository, "one", a="1\n")
    after = follow(copy, leave(copy))
    assert changed(after) == {}
    commit(copy.repository, "two", a="2\n")
    assert set(changed(after)) == {"a", "commits"}


@pytest.mark.timeout(60)
def test_a_history_that_fills_the_window_does_not_keep_changes_out(copy: Copy, root: Path) -> None:
    (root / "noise").write_bytes(os.urandom(2 * WINDOW))
    commit(root, "noise")
    intake = take_intake(Workspace(root), Limits())
    assert intake.history is not None
    leaving = leave(copy)
    coming: list[FollowUp] = []
    agent, host = connect(inside=lambda event: [each.on_event(event) for each in coming])
    coming.append(FollowUp(agent, before=copy.arrival, departure=leaving))
    coming[0].start({"git": intake.history.describe(), "seed": True})
    for stream, ending in ((FileStream.PACK, "pack"), (FileStream.PACK_INDEX, "idx")):
        content = (intake.history.folder / f"{intake.history.pack}.{ending}").read_bytes()
        for start in range(0, len(content), 65536):
            host.send_data(content[start : start + 65536], channel=FILES, stream=stream)
        host.send_end(channel=FILES, stream=stream)
    for event in change("a", "user's\n"):
        if isinstance(event, Message):
            host.send_message(event.body, channel=FILES, stream=FileStream.SEED)
        elif isinstance(event, Data):
            host.send_data(event.payload, channel=FILES, stream=FileStream.SEED)
    host.send_end(channel=FILES, stream=FileStream.SEED)
    coming[0].wait()
    intake.close()
    assert (copy.folder / "a").read_text() == "user's\n"
    assert git(copy.repository, "log", "-1", "--format=%s") == "noise\n"


def test_both_histories_stay_whole_and_only_the_agents_own_commits_go_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one branch to another, each cut off in another place."""
    forget_settings(monkeypatch, tmp_path / "home")
    root = init(tmp_path / "repository")
    for number in range(4):
        commit(root, f"m{number}")
    git(root, "branch", "topic")
    for number in range(4):
        commit(root, f"mm{number}")
    copy = bring_in(Workspace(root, history=2), tmp_path / "inside", monkeypatch)
    git(root, "checkout", "--quiet", "topic")
    for number in range(6):
        commit(root, f"t{number}")
    after = follow(copy, leave(copy), outside=root, history=2)
    git(copy.repository, "fsck", "--connectivity-only")
    assert git(copy.repository, "log", "--format=%s", "main").splitlines() == ["mm3", "mm2"]
    assert git(copy.repository, "log", "--format=%s").splitlines() == ["t5", "t4"]
    commit(copy.repository, "agent's")
    (tmp_path / "bundle").write_bytes(changed(after)["commits"])
    listed = git(root, "bundle", "list-heads", str(tmp_path / "bundle"))
    assert {line.split()[1] for line in listed.splitlines()} == {"HEAD", "refs/heads/topic"}
    git(root, "fetch", "--quiet", str(tmp_path / "bundle"), "HEAD")
    assert git(root, "log", "--format=%s", "topic..FETCH_HEAD") == "agent's\n"


def test_what_the_host_does_not_know_of_a_file_looks_changed_to_git(copy: Copy, root: Path) -> None:
    write(copy.folder, a="the agent's, and over the limit\n")
    leaving = copy.leave(limit=3)
    assert leaving.finish() == {"skipped": [{"path": "a", "reason": "over the limit for changes"}]}
    copy.wire.take()
    git(root, "config", "user.name", "Grace")
    follow(copy, leaving, outside=root)
    assert git(copy.repository, "status", "--short") == " M a\n"


def test_a_file_that_is_gone_anyway_can_be_deleted(copy: Copy) -> None:
    write(copy.folder, **{"c/x": "c\n"})
    (copy.folder / "d/x").unlink()
    (copy.folder / "d").rmdir()
    (copy.folder / "d").symlink_to("c")
    (copy.folder / "b").unlink()
    (copy.folder / "b").mkdir()
    write(copy.folder, **{"b/x.log": "ignored\n"})
    after = follow(copy, leave(copy), *[change(path, None) for path in ("d/x", "b", "a/not/there")])
    assert (copy.folder / "c/x").read_text() == "c\n"
    assert (copy.folder / "b/x.log").exists()
    write(copy.folder, **{"b/y.log": "ignored\n"})
    assert changed(after) == {}


def test_commits_that_did_not_go_out_are_no_known_ones(copy: Copy) -> None:
    commit(copy.repository, "big", noise=os.urandom(100_000))
    leaving = copy.leave(limit=1000)
    told = {each["path"] for each in leaving.finish()["skipped"]}
    assert told == {"noise", "commits"}
    copy.wire.take()
    after = follow(copy, leaving)
    assert {"noise", "commits"} <= set(changed(after))


def test_nothing_is_kept_of_the_tasks_before(copy: Copy) -> None:
    hello = {"model": {}, "changes_limit": 1, "stay": True}
    task: Any = Task(copy.wire, hello, booted=Booted())  # type: ignore[arg-type]
    first = weakref.ref(task)
    for _ in range(3):
        task._rested.set()
        task = task.assign(hello)
        task.arrival._receive(None)
    gc.collect()
    assert first() is None
    assert isinstance(task, Task)


def test_a_task_that_is_under_way_takes_no_other(copy: Copy) -> None:
    hello = {"model": {}, "changes_limit": 1, "stay": True}
    task = Task(copy.wire, hello, booted=Booted())  # type: ignore[arg-type]
    assert task.assign(hello) is task
    (said,) = copy.wire.take()
    assert isinstance(said, Message)
    assert said.body["type"] == "failed"
