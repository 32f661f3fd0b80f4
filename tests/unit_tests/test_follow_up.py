"""The program in the container, given what has changed outside: it lays that down and tells changes from there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from copies import Copy, bring_in
from repositories import commit, forget_settings, git, init, write
from test_departure import tell
from wires import connect

from langchain_sandbox.agent.arrival import ArrivalError
from langchain_sandbox.agent.follow_up import FollowUp
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


def follow(copy: Copy, leaving: Departure, *changes: list[LinkEvent], outside: Path | None = None) -> Copy:
    """The beginning of the next task.

    Args:
        copy: The task before.
        leaving: How it ended.
        changes: What the host has changed.
        outside: The host's repository, if its git is told anew.
    """
    coming = FollowUp(copy.wire, before=copy.arrival, departure=leaving)  # type: ignore[arg-type]
    said = [event for each in changes for event in each]
    described = None
    if outside is not None:
        intake = take_intake(Workspace(outside), Limits())
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
