"""A session's workspace: what goes in again, what the next patch is told against, and what is inside by then."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repositories import commit, duplicate, forget_settings, git, init, write
from runs import make_into
from trees import Tree, add, put_down, read

from langchain_sandbox.agent.seed import lay_down
from langchain_sandbox.config import Limits
from langchain_sandbox.link import Channel, Data, End, FileStream, LinkEvent, Message
from langchain_sandbox.workspace.applying.seed import describe_change
from langchain_sandbox.workspace.content import pieces
from langchain_sandbox.workspace.following import FollowedCopy, Following
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver
from langchain_sandbox.workspace_config import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES = Channel.FILES


@dataclass
class Told:
    """One task, as it was for the host.

    Args:
        sent: What went in.
        warnings: What was said of it.
        brought: What came of the task.
        patch: The same, as a patch.
        git: What was sent of git; `None` for nothing.
    """

    sent: dict[str, Any]
    warnings: list[str]
    brought: dict[str, Any] = field(default_factory=dict)
    patch: str = ""
    git: dict[str, Any] | None = None


class Conversation:
    """A session with a container that is a folder here.

    Args:
        workspace: The host's folder, or more.
        inside: A folder that is not there.
    """

    def __init__(self, workspace: Workspace | Path, inside: Path) -> None:
        workspace = Workspace(workspace) if isinstance(workspace, Path) else workspace
        self.root, self.inside = workspace.path, inside
        self._following = Following(workspace, Limits())
        self._seen: Tree | None = None

    def task(self, work: Callable[[Path], object] = lambda _: None, *, bundle: bytes = b"", head: str = "") -> Told:
        """One task from start to end, in which the agent does something with its folder."""
        copy = self._following.load()
        receiver = ChangesReceiver(Limits(), acknowledge=lambda _: None)
        try:
            told = Told(tell(copy), list(copy.seed.warnings), git=copy.git)
            if self._seen is None:
                assert not copy.again
                self.inside.mkdir()
                put_down(self.inside, files_of(self.root))
            else:
                assert copy.again
                lay(self.inside, copy)
            before = files_of(self.inside)
            assert before == read_entries(copy)
            work(self.inside)
            self._seen = files_of(self.inside)
            for event in say(before, self._seen, bundle):
                receiver.on_event(event)
            harvest = copy.collect(receiver)
            if head:
                copy.note_head(head)
            told.brought = {change.path: look_at(change) for change in harvest.changes}
            told.patch = b"".join(pieces(harvest.patch.content)).decode()
            assert harvest.warnings == []
            harvest.close()
            self._following.settle(copy)
            return told
        finally:
            copy.close()
            receiver.close()

    def close(self) -> None:
        self._following.close()


def files_of(folder: Path) -> Tree:
    return {path: side for path, side in read(folder).items() if path.partition("/")[0] != ".git"}


def read_entries(copy: FollowedCopy) -> Tree:
    """How the host thinks that it is inside."""
    snapshot = copy.intake.snapshot
    return {path: (entry.mode, b"".join(pieces(snapshot.read(entry)))) for path, entry in snapshot.entries.items()}


def look_at(change: Change) -> bytes | str | None:
    content = b"".join(pieces(change.content))
    return None if change.mode is None else f"-> {os.fsdecode(content)}" if change.mode == SYMLINK else content


def tell(copy: FollowedCopy) -> dict[str, Any]:
    return {change.path: look_at(change) for change in copy.seed.changes}


def lay(folder: Path, copy: FollowedCopy) -> None:
    """What the program inside does with what it is sent."""
    said: list[LinkEvent] = []
    for change in copy.seed.changes:
        body = describe_change(change)
        said.append(Message(FILES, FileStream.SEED, body))
        if body["kind"] == "file":
            said.append(Data(FILES, FileStream.SEED, b"".join(pieces(change.content))))
    lay_down(str(folder), iter([*said, End(FILES, FileStream.SEED)]).__next__, acknowledge=lambda _: None)


def say(before: Tree, after: Tree, bundle: bytes) -> Iterator[LinkEvent]:
    """What the container sends after a task."""
    stream = FileStream.FIRST_CHANGE
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) == after.get(path):
            continue
        stream += 1
        mode, content = after.get(path, (None, b""))
        body: dict[str, Any] = {"type": "change", "path": path, "kind": "deleted"}
        if mode == SYMLINK:
            body |= {"kind": "symlink", "target": os.fsdecode(content)}
        elif mode is not None:
            body |= {"kind": "file", "executable": mode == EXECUTABLE}
        yield Message(FILES, stream, body)
        if content and mode != SYMLINK:
            yield Data(FILES, stream, content)
        yield End(FILES, stream)
    if bundle:
        yield Message(FILES, 9999, {"type": "commits", "size": len(bundle)})
        yield Data(FILES, 9999, bundle)
        yield End(FILES, 9999)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = init(tmp_path_factory.mktemp("template") / "repository")
    commit(folder, a="a\n", b="b\n", **{"d/x": "x\n", "d/y": "y\n", ".gitignore": "*.log\n"})
    return folder


@pytest.fixture
def root(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget_settings(monkeypatch, tmp_path / "home")
    return duplicate(template, tmp_path / "repository")


@contextmanager
def talk(workspace: Workspace | Path, inside: Path) -> Iterator[Conversation]:
    conversation = Conversation(workspace, inside)
    try:
        yield conversation
    finally:
        conversation.close()


@pytest.fixture
def session(root: Path, tmp_path: Path) -> Iterator[Conversation]:
    with talk(root, tmp_path / "inside") as begun:
        yield begun


def test_nothing_goes_in_where_nothing_has_changed(session: Conversation) -> None:
    session.task()
    told = session.task(lambda inside: write(inside, a="1\n", new="n\n"))
    assert (told.sent, told.git, told.brought) == ({}, None, {"a": b"1\n", "new": b"n\n"})
    again = session.task(lambda inside: write(inside, a="2\n"))
    assert (again.sent, again.warnings, again.brought) == ({}, [], {"a": b"2\n"})
    assert "-1\n+2\n" in again.patch  # told against what the task found


def test_every_kind_of_change_outside_goes_in(session: Conversation, root: Path) -> None:
    session.task()
    write(root, a="edited\n", **{"n/new": "n\n", "skipped.log": "s\n"})
    (root / "b").rename(root / "c")
    (root / "d/x").chmod(0o755)
    (root / "d/y").unlink()
    (root / "link").symlink_to("a")
    told = session.task()
    assert list(told.sent)[:2] == ["b", "d/y"]  # deletions first
    assert told.sent == {
        "a": b"edited\n",
        "b": None,
        "c": b"b\n",
        "d/x": b"x\n",
        "d/y": None,
        "link": "-> a",
        "n/new": b"n\n",
    }
    assert (told.warnings, told.brought) == ([], {})
    assert files_of(session.inside) == {path: side for path, side in files_of(root).items() if path != "skipped.log"}
    assert session.task().sent == {}


def test_what_the_host_took_over_does_not_go_in(session: Conversation, root: Path) -> None:
    def work(inside: Path) -> None:
        write(inside, a="agent's\n", new="n\n")
        (inside / "b").unlink()

    session.task(work)
    write(root, a="agent's\n", new="n\n")
    (root / "b").unlink()
    told = session.task()
    assert (told.sent, told.warnings) == ({}, [])
    write(root, a="user's\n")
    told = session.task()
    assert (told.sent, told.warnings) == ({"a": b"user's\n"}, [])  # it was the user's own by then


def test_where_both_changed_a_file_the_hosts_goes_in_and_the_caller_is_told(session: Conversation, root: Path) -> None:
    def work(inside: Path) -> None:
        write(inside, a="agent's\n", new="agent's\n", **{"d/x": "agent's\n"})
        (inside / "b").unlink()

    session.task(work)
    write(root, a="user's\n", b="user's\n", new="user's\n")
    (root / "d/x").unlink()
    told = session.task()
    assert told.sent == {"a": b"user's\n", "b": b"user's\n", "new": b"user's\n", "d/x": None}
    (warning,) = told.warnings
    assert "a, b, d/x, new. The agent's is in the result that brought it." in warning
    assert session.task().sent == {}


def test_many_names_are_not_all_told(session: Conversation, root: Path) -> None:
    names = {f"f{number}": "1\n" for number in range(9)}
    session.task(lambda inside: write(inside, **names))
    write(root, **dict.fromkeys(names, "2\n"))
    assert "f0, f1, f2, f3, f4 and 4 more" in session.task().warnings[0]


def test_what_the_agent_undoes_is_the_hosts_again(session: Conversation, root: Path) -> None:
    session.task(lambda inside: write(inside, a="1\n"))
    undone = session.task(lambda inside: write(inside, a="a\n"))
    assert undone.brought == {"a": b"a\n"}
    write(root, a="user's\n")
    assert session.task().warnings == []


@pytest.mark.parametrize("kind", ["folder for a file", "file for a folder", "link for a folder", "more in a folder"])
def test_what_the_agent_put_in_the_hosts_way_gives_way(kind: str, session: Conversation, root: Path) -> None:
    def work(inside: Path) -> None:
        if kind == "folder for a file":
            (inside / "a").unlink()
            write(inside, **{"a/deep/file": "agent's\n"})
        elif kind == "more in a folder":
            write(inside, **{"d/agent's": "agent's\n"})
        else:
            (inside / "d/x").unlink(), (inside / "d/y").unlink(), (inside / "d").rmdir()
            (inside / "d").symlink_to("b") if kind.startswith("link") else write(inside, d="agent's\n")

    session.task(work)
    if kind == "more in a folder":
        (root / "d/x").unlink(), (root / "d/y").unlink(), (root / "d").rmdir()
        write(root, d="user's\n")
    else:
        write(root, a="user's\n", **{"d/x": "user's\n"})
    told = session.task()
    expected = {"folder for a file": "a/deep/file", "more in a folder": "d/agent's"}.get(kind, "d")
    assert told.sent[expected] is None
    assert expected in told.warnings[0]
    assert session.task().sent == {}


def test_big_contents_are_kept_for_the_next_patch(session: Conversation) -> None:
    big = "".join(f"{number}\n" for number in range(300_000))
    session.task(lambda inside: write(inside, big=big))
    told = session.task(lambda inside: write(inside, big=big + "end\n"))
    assert told.patch.count("\n+") == 2  # the header's, and one line
    assert "+end\n" in told.patch


def test_a_folder_that_is_no_repository_and_none_at_all(tmp_path: Path) -> None:
    write(tmp_path / "plain", a="a\n")
    with talk(tmp_path / "plain", tmp_path / "inside") as session:
        session.task(lambda inside: write(inside, b="b\n"))
        write(tmp_path / "plain", a="2\n")
        told = session.task()
        assert (told.sent, told.git) == ({"a": b"2\n"}, None)
    following = Following(None, Limits())
    for again in (False, True):
        copy = following.load()
        assert (copy.again, copy.git, copy.seed.changes) == (again, None, [])
        following.settle(copy)
        copy.close()
    following.close()


def test_a_folder_of_a_repository(root: Path, tmp_path: Path) -> None:
    with talk(root / "d", tmp_path / "inside") as session:
        session.task(lambda inside: write(inside, x="agent's\n"))
        write(root, **{"d/y": "user's\n", "a": "elsewhere\n"})
        assert session.task().sent == {"y": b"user's\n"}


def test_what_is_known_of_a_file(session: Conversation, root: Path) -> None:
    following = session._following
    assert not following.has("a", b"a\n")
    session.task(lambda inside: write(inside, b="agent's\n", made="agent's\n"))
    assert following.has("a", b"a\n")
    assert following.has("none", b"")
    assert not following.has("none", b"some")
    assert not following.has("a", b"other")
    assert not following.has("b", b"b\n")
    assert not following.has("made", b"")
    assert root.is_dir()


class TestGit:
    """What is told of git, and when."""

    def test_it_stays_where_nothing_moved(self, session: Conversation, root: Path) -> None:
        session.task()
        write(root, a="edited\n")
        assert session.task().git is None

    def test_a_commit_a_branch_and_the_index_go_in(self, session: Conversation, root: Path) -> None:
        session.task(lambda inside: (inside / "b").unlink())
        head = commit(root, a="committed\n")
        told = session.task()
        assert told.git is not None
        assert (told.git["head"], told.git["pack"] != "", told.git["deleted"]) == (head, True, ["b"])
        assert session.task().git is None
        git(root, "checkout", "--quiet", "-b", "topic")
        told = session.task()
        assert told.git is not None
        assert told.git["branch"] == "topic"
        write(root, a="staged\n")
        git(root, "add", "a")
        told = session.task()
        assert told.git is not None
        assert len(told.git["index"]) == 1
        assert session.task().git is None

    def test_the_agents_commits_that_were_applied_do_not(self, session: Conversation, root: Path) -> None:
        head = commit_inside(root, a="agent's\n")
        session.task(lambda inside: write(inside, a="agent's\n"), bundle=b"bundle", head=head)
        git(root, "fetch", "--quiet", str(root.parent / "agent's"), "HEAD")
        git(root, "reset", "--quiet", "--hard", head)
        told = session.task()
        assert (told.git, told.sent) == (None, {})

    def test_until_they_are_applied_the_next_ones_are_told_from_there(self, session: Conversation, root: Path) -> None:
        head = commit_inside(root, a="agent's\n")
        session.task(lambda inside: write(inside, a="agent's\n"), bundle=b"bundle", head=head)
        copy = session._following.load()
        assert copy.git is None
        assert copy.intake.history is not None
        assert copy.intake.history.head == head
        copy.close()

    def test_commits_that_nobody_read_are_taken_back_inside(self, session: Conversation, root: Path) -> None:
        session.task(lambda inside: write(inside, a="agent's\n"), bundle=b"dropped")
        told = session.task()
        assert told.git is not None
        assert told.git["head"] == git(root, "rev-parse", "HEAD").strip()
        assert (told.git["differing"], told.sent) == (["a"], {})
        assert session.task().git is None


def commit_inside(root: Path, **files: str) -> str:
    """The agent's commit, in a repository of its own."""
    return commit(duplicate(root, root.parent / "agent's"), "agent's", **files)


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[str, Tree]]:
    """Which side is edited, and what it has then."""
    names = st.sampled_from(["a", "b", "a/x", "a/x/y", "b/x", "c"])
    links = st.just((SYMLINK, b"c"))
    plain = st.tuples(st.sampled_from([FILE, EXECUTABLE]), st.sampled_from([b"", b"1\n", b"2\n", b"a\0"]))
    found = []
    for _ in range(draw(st.integers(1, 5))):
        tree: Tree = {}
        for path, side in draw(st.dictionaries(names, st.one_of(plain, links), max_size=4)).items():
            add(tree, path, side)
        found.append((draw(st.sampled_from(["host", "agent", "host applies"])), tree))
    return found


@settings(max_examples=60)
@given(edits())
def test_whatever_both_sides_do_the_host_knows_what_is_inside(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Tree]]
) -> None:
    place = tmp_path_factory.mktemp("place")
    root = place / "root"
    root.mkdir()
    with talk(root, place / "inside") as session:
        session.task()
        for who, tree in steps:
            if who == "agent":
                before = files_of(root)
                session.task(lambda inside, tree=tree: make_into(inside, tree))
                assert (files_of(session.inside), files_of(root)) == (tree, before)
                continue
            was = files_of(root)
            make_into(root, tree if who == "host" else files_of(session.inside))
            now, inside = files_of(root), files_of(session.inside)
            session.task()
            after = files_of(session.inside)
            if who == "host applies":
                assert after == now
            for path, side in now.items():
                assert after.get(path) == (side if was.get(path) != side else inside.get(path)) or path not in after
                assert path in after or was.get(path) == side
            assert session.task().sent == {}
