"""What the program in the container sends: each change once, as it is in the end, and no more than the limit."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from copies import Copy, bring_in
from repositories import commit, forget_settings, git, init, write

from langchain_sandbox.agent import children, departure
from langchain_sandbox.config import Limits
from langchain_sandbox.link import Data, End, LinkEvent, Message
from langchain_sandbox.workspace.content import pieces
from langchain_sandbox.workspace.inbound.snapshot import take_snapshot
from langchain_sandbox.workspace.outbound.changes import Changes
from langchain_sandbox.workspace_config import Workspace

FILE = 0o100644


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget_settings(monkeypatch, tmp_path / "home")
    folder = init(tmp_path / "repository")
    commit(folder, a="a\n", b="b\n", **{"sub/c": "c\n", ".gitignore": "*.log\n"})
    return folder


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Copy]:
    """Puts a workspace down."""
    return lambda workspace, **options: bring_in(workspace, tmp_path / "inside", monkeypatch, **options)


def tell(said: list[LinkEvent]) -> dict[str, Any]:
    """What was said of each path: a content, or the kind of change."""
    told: dict[str, Any] = {}
    contents: dict[int, bytes] = {}
    ended = set()
    for event in said:
        match event:
            case Message(stream=stream, body=body):
                assert stream not in contents
                contents[stream] = b""
                path = body.get("path", body["type"])
                assert path not in told
                told[path] = (stream, body)
            case Data(stream=stream, payload=payload):
                contents[stream] += payload
            case End(stream=stream):
                ended.add(stream)
    assert ended == set(contents)
    for path, (stream, body) in told.items():
        content = contents[stream]
        if "size" in body:
            assert body["size"] == len(content)
        told[path] = content if body["type"] == "commits" or body["kind"] == "file" else body["kind"]
    return told


def look(leaving: Any) -> list[dict[str, str]]:
    """One of the looks while the agent works."""
    return leaving._send_changes()


def settle(root: Path | Workspace, said: list[LinkEvent]) -> dict[str, tuple[int | None, bytes]]:
    """What the host makes of it."""
    snapshot, changes = take_snapshot(root, Limits()), Changes(Limits())
    changes.take(said)
    settled = changes.settle(snapshot)
    assert changes.skipped == []
    found = {each.path: (each.mode, b"".join(pieces(each.content))) for each in settled}
    changes.close()
    snapshot.close()
    return found


def test_every_change_goes_out_as_it_is(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    write(copy.folder, a="changed\n", new="n\n", **{"x.log": "", "new folder/é\n": "u\n"})
    (copy.folder / "b").unlink()
    (copy.folder / "sub/c").chmod(0o755)
    (copy.folder / "link").symlink_to("a")
    assert copy.leave().finish() == {"skipped": []}
    said = copy.wire.take()
    assert tell(said) == {
        "a": b"changed\n",
        "b": "deleted",
        "link": "symlink",
        "new": b"n\n",
        "new folder/é\n": b"u\n",
        "sub/c": b"c\n",
    }
    assert settle(root, said) == {
        "a": (FILE, b"changed\n"),
        "b": (None, b""),
        "link": (0o120000, b"a"),
        "new": (FILE, b"n\n"),
        "new folder/é\n": (FILE, b"u\n"),
        "sub/c": (0o100755, b"c\n"),
    }


def test_what_did_not_change_is_not_sent_again(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    leaving = copy.leave()
    assert (look(leaving), tell(copy.wire.take())) == ([], {})
    write(copy.folder, a="1\n", new="1\n")
    (copy.folder / "b").unlink()
    assert (look(leaving), tell(copy.wire.take())) == ([], {"a": b"1\n", "b": "deleted", "new": b"1\n"})
    assert (look(leaving), tell(copy.wire.take())) == ([], {})
    write(copy.folder, a="2\n")
    assert (look(leaving), tell(copy.wire.take())) == ([], {"a": b"2\n"})
    assert (leaving.finish(), copy.wire.take()) == ({"skipped": []}, [])


def test_a_change_of_the_same_length_at_the_same_time_is_seen(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    before = (copy.folder / "a").stat()
    write(copy.folder, a="A\n")
    os.utime(copy.folder / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    look(copy.leave())
    assert tell(copy.wire.take()) == {"a": b"A\n"}


def test_what_was_sent_and_is_no_change_any_more_is_taken_back(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    leaving = copy.leave()
    write(copy.folder, a="1\n", new="1\n")
    (copy.folder / "b").unlink()
    look(leaving)
    said = copy.wire.take()
    (copy.folder / "new").unlink()
    write(copy.folder, a="a\n", b="b\n")
    look(leaving)
    more = copy.wire.take()
    assert tell(more) == {"new": "unchanged", "a": b"a\n", "b": b"b\n"}  # which the host knows, and git may not
    assert settle(root, [*said, *more]) == {}


def test_what_became_neither_file_nor_link_is_taken_back_and_named(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    leaving = copy.leave()
    write(copy.folder, a="1\n", b="1\n")
    look(leaving)
    said = copy.wire.take()
    (copy.folder / "a").unlink()
    os.mkfifo(copy.folder / "a")
    assert leaving.finish() == {"skipped": [{"path": "a", "reason": "not a file"}]}
    more = copy.wire.take()
    assert tell(more) == {"a": "unchanged"}
    assert settle(root, [*said, *more]) == {"b": (FILE, b"1\n")}


def test_a_folder_in_a_files_place_deletes_it(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    (copy.folder / "a").unlink()
    write(copy.folder, **{"a/in": "x\n"})
    copy.leave().finish()
    assert tell(copy.wire.take()) == {"a": "deleted", "a/in": b"x\n"}


def test_what_goes_over_the_limit_is_named_and_the_rest_goes_out(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    write(copy.folder, a="x" * 600, b="x" * 600, new="x" * 300)
    leaving = copy.leave(limit=1000)
    over = [{"path": "b", "reason": "over the limit for changes"}]
    assert look(leaving) == over
    assert set(tell(copy.wire.take())) == {"a", "new"}
    (copy.folder / "a").unlink()
    assert leaving.finish() == {"skipped": []}
    assert tell(copy.wire.take()) == {"a": "deleted", "b": b"x" * 600}


def test_what_grew_over_the_limit_is_not_left_as_it_was_on_the_way(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    leaving = copy.leave(limit=1000)
    write(copy.folder, a="half of it\n", b="fits\n")
    look(leaving)
    said = copy.wire.take()
    write(copy.folder, a="x" * 2000)
    assert leaving.finish() == {"skipped": [{"path": "a", "reason": "over the limit for changes"}]}
    assert settle(root, [*said, *copy.wire.take()]) == {"b": (FILE, b"fits\n")}


def test_what_changes_all_the_time_goes_with_the_last_look(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    leaving = copy.leave(limit=1000)
    sent = 0
    for number in range(6):
        write(copy.folder, a=f"{number}" * 400)
        assert look(leaving) == []
        sent += sum(map(len, tell(copy.wire.take()).values()))
    assert sent == 800  # once the limit on the way
    assert leaving.finish() == {"skipped": []}
    assert tell(copy.wire.take()) == {"a": b"5" * 400}


def test_what_git_ignores_stays_inside_and_what_came_in_does_not(root: Path, inside: Callable[..., Copy]) -> None:
    write(root, **{"kept.log": "k\n", "node/x.log": "x\n"})
    copy = inside(Workspace(root, include=["kept.log", "node"]))
    write(copy.folder, **{"kept.log": "changed\n", "other.log": "", "node/x.log": "changed\n", "node/y.log": ""})
    copy.leave().finish()
    assert tell(copy.wire.take()) == {"kept.log": b"changed\n", "node/x.log": b"changed\n"}


def test_what_changes_in_repositories_inside_comes_out(root: Path, tmp_path: Path, inside: Callable[..., Copy]) -> None:
    for name in ("inner", "library"):
        commit(init(tmp_path / name), file="1\n", **{".gitignore": "*.tmp\n"})
    (tmp_path / "inner").rename(root / "inner")
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "library"), "library")
    copy = inside(root)
    assert sorted(copy.arrival.nested) == ["inner", "library"]
    for name in ("inner", "library"):
        write(copy.folder / name, file="2\n", **{"new": "n\n", "x.tmp": "", "deep/new": "d\n"})
    copy.leave().finish()
    names = ("inner", "library")
    expected = {f"{name}/{file}" for name in names for file in ("file", "new", "deep/new")}
    assert set(tell(copy.wire.take())) == expected


def test_a_repository_that_the_agent_makes_comes_out_as_files(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    commit(init(copy.folder / "made"), file="1\n")
    copy.leave().finish()
    assert tell(copy.wire.take()) == {"made/file": b"1\n"}


def test_without_its_git_too_much_comes_out_and_nothing_is_missed(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    write(copy.folder, a="changed\n", new="n\n", **{"x.log": "", ".git/HEAD": "broken"})
    assert copy.leave().finish() == {"skipped": []}
    assert set(tell(copy.wire.take())) == {"a", "new", "x.log"}


def test_a_folder_of_a_repository_has_changes_of_its_own(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root / "sub")
    write(copy.folder, c="changed\n", new="n\n", **{"x.log": ""})
    write(copy.repository, outside="o\n")
    assert copy.leave().finish() == {"skipped": [{"path": "outside", "reason": "outside of the workspace"}]}
    assert tell(copy.wire.take()) == {"c": b"changed\n", "new": b"n\n"}
    git(copy.folder, "init", "--quiet")
    git(copy.folder, "add", "--all")
    copy.leave().finish()
    assert {"c", "new"} <= set(tell(copy.wire.take()))


@pytest.mark.parametrize("where", ["this branch", "another branch", "nowhere"])
def test_commits_come_out_as_a_bundle_only_if_there_are_new_ones(
    where: str, root: Path, tmp_path: Path, inside: Callable[..., Copy]
) -> None:
    base = git(root, "rev-parse", "HEAD").strip()
    copy = inside(root)
    if where == "another branch":
        git(copy.repository, "checkout", "--quiet", "-b", "other")
    if where != "nowhere":
        made = commit(copy.repository, "made inside", a="changed\n")
    copy.leave().finish()
    told = tell(copy.wire.take())
    assert ("commits" in told) is (where != "nowhere")
    if where != "nowhere":
        (tmp_path / "bundle").write_bytes(told["commits"])
        git(root, "fetch", "--quiet", str(tmp_path / "bundle"), "HEAD")
        assert git(root, "log", "--format=%H %s", f"{base}..FETCH_HEAD") == f"{made} made inside\n"


def test_commits_of_a_repository_that_had_none_come_out(tmp_path: Path, inside: Callable[..., Copy]) -> None:
    root = init(tmp_path / "new")
    write(root, a="a\n")
    copy = inside(root)
    leaving = copy.leave()
    commit(copy.repository, "first")
    leaving.finish()
    assert "commits" in tell(copy.wire.take())


def test_commits_over_the_limit_are_named(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    commit(copy.repository, big=os.urandom(3000))
    (copy.repository / "big").unlink()
    told = copy.leave(limit=2000).finish()
    assert told == {"skipped": [{"path": "commits", "reason": "over the limit for changes"}]}
    assert copy.wire.take() == []


def test_a_great_many_changes_take_no_more_than_their_time(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    many = {f"many/{number}": (0, 0, 0, 0, number) for number in range(20_000)}
    copy.arrival.manifest |= many  # all of them were deleted
    leaving = copy.leave()
    began = time.process_time()
    look(leaving)
    assert time.process_time() - began < 3
    assert len(tell(copy.wire.take())) == 20_000


def test_once_started_it_looks_by_itself_until_it_is_finished(
    root: Path, inside: Callable[..., Copy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departure, "_PAUSE", 0.01)
    copy = inside(root)
    leaving = copy.leave()
    leaving.start()
    write(copy.folder, a="1\n")
    deadline = time.monotonic() + 10
    while len(copy.wire.said) < 3 and time.monotonic() < deadline:  # a message, its content, its end
        time.sleep(0.01)
    assert tell(copy.wire.take()) == {"a": b"1\n"}
    assert leaving.finish() == {"skipped": []}
    write(copy.folder, a="2\n")
    time.sleep(0.1)
    assert copy.wire.take() == []


def test_git_that_cannot_be_started_is_tried_once_more_with_room_made(
    root: Path, inside: Callable[..., Copy], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = inside(root)
    write(copy.folder, **{"x.log": "ignored\n"})
    commit(copy.repository, "agent's", new="n\n")
    start, room = children.spawn, []

    def spawn(*arguments: Any, **options: Any) -> Any:
        if not room:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(*arguments, **options)

    monkeypatch.setattr(children, "spawn", spawn)
    assert copy.leave().finish(make_room=lambda: room.append(1)) == {"skipped": []}
    assert (set(tell(copy.wire.take())), room) == ({"new", "commits"}, [1])


def test_commits_of_which_git_cannot_be_asked_are_told_as_left_behind(
    root: Path, inside: Callable[..., Copy], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = inside(root)
    commit(copy.repository, "agent's", new="n\n")
    run = children.run

    def refuse(command: Any, **options: Any) -> Any:
        if "rev-list" in command:
            msg = "too long"
            raise TimeoutError(msg)
        return run(command, **options)

    monkeypatch.setattr(children, "run", refuse)
    leaving = copy.leave()
    (left,) = leaving.finish()["skipped"]
    assert left == {"path": "commits", "reason": "they could not be packed: too long"}
    assert leaving.commits.tips == copy.arrival.bases


def test_a_file_behind_a_link_is_gone_and_not_what_the_link_leads_to(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    (copy.folder / "sub").rename(copy.folder / "moved")
    (copy.folder / "sub").symlink_to("moved")
    copy.leave().finish()
    assert tell(copy.wire.take()) == {"moved/c": b"c\n", "sub": "symlink", "sub/c": "deleted"}
