"""A container may say anything on the FILES channel; what comes of it is real, allowed, and told."""

from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_sandbox.config import Limits
from langchain_sandbox.link import Channel, Data, End, LinkEvent, Message, Reset
from langchain_sandbox.workspace.content import pieces
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK, Snapshot, take_snapshot
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver

FILES = Channel.FILES


def begin(stream: int, path: object, kind: object = "file", **more: object) -> Message:
    body = {"type": "change", "path": path, "kind": kind, **({"executable": False} if kind == "file" else {}), **more}
    return Message(FILES, stream, body)


def data(stream: int, payload: bytes) -> Data:
    return Data(FILES, stream, payload)


def end(stream: int) -> End:
    return End(FILES, stream)


def whole(stream: int, path: object, payload: bytes = b"new\n") -> list[LinkEvent]:
    return [begin(stream, path), data(stream, payload), end(stream)]


def take(
    *events: LinkEvent, root: Path | None = None, limits: Limits | None = None
) -> tuple[list[Change], list[str], Snapshot]:
    """Feed a receiver and settle; gives the changes and what was skipped."""
    receiver = ChangesReceiver(limits or Limits(), acknowledge=lambda _: None)
    snapshot = take_snapshot(root, Limits())
    try:
        for event in events:
            receiver.on_event(event)
        return settle(receiver, snapshot), receiver.skipped, snapshot
    finally:
        receiver.close()
        snapshot.close()


def settle(receiver: ChangesReceiver, snapshot: Snapshot | None = None) -> list[Change]:
    """The changes with their contents in memory, so that they can be compared."""
    changes = receiver.settle(snapshot or take_snapshot(None, Limits()))
    return [Change(change.path, change.mode, b"".join(pieces(change.content))) for change in changes]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("old\n")
    (tmp_path / "file").write_text("old\n")
    (tmp_path / "run").write_text("old\n")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("folder")
    return tmp_path


def test_real_changes_come_out_in_the_order_of_their_paths(root: Path) -> None:
    changes, skipped, _ = take(
        *whole(20, "file"),
        *[begin(21, "run", "deleted"), end(21)],
        *[begin(22, "new link", "symlink", target="é"), end(22)],
        *[begin(23, "a\n", executable=True), data(23, b"1"), data(23, b"2"), end(23)],
        *[begin(24, "empty"), end(24)],
        root=root,
    )
    assert changes == [
        Change("a\n", EXECUTABLE, b"12"),
        Change("empty", FILE, b""),
        Change("file", FILE, b"new\n"),
        Change("new link", SYMLINK, "é".encode()),
        Change("run", None),
    ]
    assert skipped == []


def test_what_is_as_it_was_is_no_change(root: Path) -> None:
    changes, skipped, _ = take(
        *whole(1, "file", b"old\n"),
        *[begin(2, "run", executable=True), data(2, b"old\n"), end(2)],
        *[begin(3, "link", "symlink", target="folder"), end(3)],
        *[begin(4, "never was", "deleted"), end(4)],
        root=root,
    )
    assert (changes, skipped) == ([], [])


def test_a_mode_alone_is_a_change(root: Path) -> None:
    changes, _, _ = take(begin(1, "file", executable=True), data(1, b"old\n"), end(1), root=root)
    assert changes == [Change("file", EXECUTABLE, b"old\n")]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../x", "not a plain relative path"),
        ("/etc/passwd", "not a plain relative path"),
        ("a//b", "not a plain relative path"),
        ("", "empty or too long"),
        ("x/" * 3000 + "x", "empty or too long"),
        ("a\0b", "holds a NUL"),
        ("\ud800", "not a file's name"),
        ("é" * 200, "not a plain relative path"),
        (".git/hooks/post-checkout", "inside a .git"),
        ("sub/.GIT/config", "inside a .git"),
        ("opencode.json", "would configure OpenCode itself"),
        (".opencode/plugin/x.js", "would configure OpenCode itself"),
    ],
)
@pytest.mark.parametrize("kind", ["file", "deleted"])
def test_a_path_that_may_not_come_out_is_skipped_and_named(path: str, reason: str, kind: str) -> None:
    changes, [skipped], _ = take(begin(1, path, kind), data(1, b"x"), end(1), *whole(2, "good"))
    assert [change.path for change in changes] == ["good"]
    assert skipped == f"{path[:200]!r}: {reason}"


def test_a_path_is_judged_by_its_bytes_however_they_were_written() -> None:
    changes, skipped, _ = take(*whole(1, ".g\udce2\udc80\udc8cit/config"), *whole(2, "caf\udcc3\udca9"))
    assert [change.path for change in changes] == ["café"]
    assert skipped == [f"{'.g' + chr(0x200C) + 'it/config'!r}: inside a .git"]


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "fifo"},
        {"kind": None},
        {"kind": "file", "executable": None},
        {"kind": "file", "executable": 1},
        {"kind": "file", "executable": "yes"},
        {"kind": "symlink"},
        {"kind": "symlink", "target": ""},
        {"kind": "symlink", "target": "a\0b"},
        {"kind": "symlink", "target": ["a"]},
        {"kind": "symlink", "target": "\ud800"},
    ],
)
def test_a_kind_that_is_not_known_is_skipped_and_named(more: dict[str, Any]) -> None:
    message = Message(FILES, 1, {"type": "change", "path": "x", **more})
    changes, skipped, _ = take(message, data(1, b"x"), end(1))
    assert (changes, skipped) == ([], ["'x': of an unknown kind"])


@pytest.mark.parametrize(
    ("path", "target", "reason"),
    [
        ("x", "caf\udce9", "a link to a name that is not UTF-8, which no patch can hold"),
        ("x", "x" * 4096, "a link to a place too far"),
        ("x", "x" * 1_000_000, "a link to a place too far"),
        ("x", "é" * 2048, "a link to a place too far"),
        (".gitmodules", "x", "a link that git would obey"),
        ("sub/.GitModules", "x", "a link that git would obey"),
    ],
    ids=["not-utf-8", "far", "very-far", "far-in-bytes", "modules", "modules-below"],
)
def test_a_link_that_no_patch_can_make_is_skipped_and_named(path: str, target: str, reason: str) -> None:
    changes, skipped, _ = take(begin(1, path, "symlink", target=target), end(1), *whole(2, "good"))
    assert changes == [Change("good", FILE, b"new\n")]
    assert skipped == [f"{path!r}: {reason}"]


def test_a_link_as_far_as_the_system_takes_comes_out() -> None:
    target = "x" * 4095
    changes, skipped, _ = take(begin(1, "link", "symlink", target=target), end(1))
    assert (changes, skipped) == ([Change("link", SYMLINK, target.encode())], [])


def test_what_is_named_as_skipped_can_be_written() -> None:
    _, skipped, _ = take(*whole(1, "\ud800"), *whole(2, "a/../caf\udce9"), begin(3, "\udce9", "fifo"))
    assert len(skipped) == 3
    "".join(skipped).encode()


def test_content_without_a_change_that_it_belongs_to_is_let_go_by() -> None:
    assert take(data(1, b"x"), end(1), end(2), data(0, b"y"))[:2] == ([], [])


def test_a_change_that_was_not_finished_is_none() -> None:
    events = [begin(1, "a"), data(1, b"x"), begin(2, "b"), Reset(FILES, 2, {"reason": "x"})]
    assert take(*events)[:2] == ([], [])


def test_commits_come_out_where_no_file_has_changed() -> None:
    receiver = ChangesReceiver(Limits(), acknowledge=lambda _: None)
    for event in (Message(FILES, 7, {"type": "commits", "size": 6}), data(7, b"bundle"), end(7)):
        receiver.on_event(event)
    assert settle(receiver) == []
    assert receiver.bundle is not None
    assert b"".join(pieces(receiver.bundle)) == b"bundle"
    receiver.close()


def test_streams_that_are_interleaved_never_mix_their_contents() -> None:
    events = [begin(1, "a"), begin(2, "b"), data(1, b"aaa"), data(2, b"bbb"), data(1, b"aaa"), end(2), end(1)]
    changes, skipped, _ = take(*events)
    assert changes == [Change("a", FILE, b"aaaaaa")]
    assert skipped == ["'b': its content came in disorder"]


def test_the_last_word_about_a_path_counts() -> None:
    assert take(*whole(1, "a", b"1"), *whole(2, "a", b"2"))[0] == [Change("a", FILE, b"2")]


def test_what_goes_over_the_limit_is_skipped_and_named_and_what_fits_is_kept() -> None:
    events = [begin(1, "big"), *[data(1, bytes(400))] * 4, end(1), *whole(2, "small", b"fits")]
    changes, skipped, _ = take(*events, limits=Limits(changes=1300))
    assert changes == [Change("small", FILE, b"fits")]
    assert skipped == ["'big': over the limit for changes (Limits.changes)"]


@pytest.mark.parametrize("above", ["link", "file", "new", "new link"])
def test_a_file_below_a_link_or_a_file_is_skipped_and_named(root: Path, above: str) -> None:
    events = [*whole(1, "new"), begin(2, "new link", "symlink", target="/etc"), end(2), *whole(3, f"{above}/x/y")]
    changes, skipped, _ = take(*events, root=root)
    assert [change.path for change in changes] == ["new", "new link"]
    assert skipped == [f"'{above}/x/y': below a path that is a file or a link"]


def test_a_folder_may_take_the_place_of_what_was_deleted(root: Path) -> None:
    changes, skipped, _ = take(begin(1, "link", "deleted"), end(1), *whole(2, "link/x"), root=root)
    assert changes == [Change("link", None), Change("link/x", FILE, b"new\n")]
    assert skipped == []


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_a_file_or_link_in_the_place_of_a_folder_that_stays_is_skipped_and_named(root: Path, kind: str) -> None:
    changes, skipped, _ = take(begin(1, "folder", kind, target="x"), end(1), *whole(2, "good"), root=root)
    assert changes == [Change("good", FILE, b"new\n")]
    assert skipped == ["'folder': in the place of a folder that stays"]


def test_a_file_may_take_the_place_of_a_folder_that_was_emptied(root: Path) -> None:
    changes, skipped, _ = take(*whole(1, "folder"), begin(2, "folder/file", "deleted"), end(2), root=root)
    assert changes == [Change("folder", FILE, b"new\n"), Change("folder/file", None)]
    assert skipped == []


def test_what_is_said_of_skipped_changes_is_bounded() -> None:
    _, skipped, _ = take(*(begin(number, f"{number}" + "x" * 4000 + "/../" + "y") for number in range(500)))
    assert len(skipped) == 100
    assert max(map(len, skipped)) < 300


def test_what_is_skipped_again_and_again_is_said_once() -> None:
    assert take(*(begin(number, "../x") for number in range(5)))[1] == ["'../x': not a plain relative path"]


values = st.none() | st.booleans() | st.integers() | st.lists(st.integers(), max_size=2) | st.just({"a": 1})
paths = st.sampled_from(["file", "folder/file", "link", "link/x", "run", "../x", ".git/x", "new", "new/x"]) | values
bodies = st.fixed_dictionaries(
    {"type": st.just("change") | values, "path": paths},
    optional={
        "kind": st.sampled_from(["file", "symlink", "deleted", "folder"]) | values,
        "executable": st.booleans() | values,
        "target": st.sampled_from(["x", "/etc", ""]) | values,
        "size": values,
    },
)
streams = st.integers(0, 3)
events = st.one_of(
    st.builds(Message, st.just(FILES), streams, bodies),
    st.builds(Data, st.just(FILES), streams, st.binary(max_size=5)),
    st.builds(End, st.just(FILES), streams),
    st.builds(Reset, st.just(FILES), streams, st.just({})),
)


@given(said=st.lists(events, max_size=30))
def test_nothing_that_is_said_raises_and_only_real_changes_come_of_it(
    said: list[LinkEvent], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.getbasetemp() / "hostile"
    if not root.exists():
        (root / "folder").mkdir(parents=True)
        (root / "folder/file").write_text("old")
        (root / "link").symlink_to("folder")
    changes, _, snapshot = take(*said, root=root)
    for change in changes:
        before = snapshot.entries.get(change.path)
        assert change.path in {"file", "folder/file", "link", "link/x", "run", "new", "new/x"}
        assert (change.mode is None) <= (before is not None)
    assert len({change.path for change in changes}) == len(changes)


def test_content_is_acknowledged_once_it_is_kept() -> None:
    acknowledged: list[Data] = []

    async def serve() -> None:
        all_of_it = anyio.Event()

        def acknowledge(piece: Data) -> None:
            acknowledged.append(piece)
            if len(acknowledged) == 2:
                all_of_it.set()

        receiver = ChangesReceiver(Limits(), acknowledge=acknowledge)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receiver.serve)
            for event in [*whole(1, "a", b"xyz"), data(9, b"stray")]:
                receiver.on_event(event)
            assert acknowledged == []
            with anyio.fail_after(5):
                await all_of_it.wait()
            tasks.cancel_scope.cancel()
        assert settle(receiver) == [Change("a", FILE, b"xyz")]
        receiver.close()

    anyio.run(serve)
    assert acknowledged == [data(1, b"xyz"), data(9, b"stray")]


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_what_had_arrived_is_kept_when_serving_is_cancelled(turns: int) -> None:
    async def serve() -> list[Change]:
        receiver = ChangesReceiver(Limits(), acknowledge=lambda _: None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receiver.serve)
            await anyio.wait_all_tasks_blocked()
            for event in whole(1, "a", b"xyz"):
                receiver.on_event(event)
            for _ in range(turns):  # cancelled before it wakes, as it begins to write, or later
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        try:
            return settle(receiver)
        finally:
            receiver.close()

    assert anyio.run(serve) == [Change("a", FILE, b"xyz")]


@pytest.mark.parametrize(
    "paths",
    [
        ["lib/HEAD", "lib/config", "lib/objects/x", "lib/refs/x"],
        ["lib/HEAD", "lib/config", "lib/objects", "lib/refs"],
        ["lib/HEAD", "lib/commondir", "lib/config"],
        ["LIB/head", "lib/Objects/x", "lib/refs./x"],
        ["HEAD", "config", "objects/x", "refs/x", "hooks/x"],
    ],
)
def test_a_folder_that_git_would_take_for_a_repository_does_not_come_out(root: Path, paths: list[str]) -> None:
    """Without any `.git`, the user's next `git status` there would run what its `config` says."""
    changes, skipped, _ = take(*[event for n, path in enumerate(paths) for event in whole(20 + n, path)], root=root)
    assert changes == []
    assert skipped == [f"{path!r}: git would take its folder for a repository" for path in sorted(paths)]


def test_a_bare_repository_that_went_in_stays_as_it_is_and_may_go(root: Path) -> None:
    for path in ("fixture/HEAD", "fixture/objects/x", "fixture/refs/x", "fixture/config"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("old\n")
    changes, skipped, _ = take(
        *whole(20, "fixture/config"), begin(21, "fixture/HEAD", "deleted"), end(21), *whole(22, "objects/y"), root=root
    )
    assert [change.path for change in changes] == ["fixture/HEAD", "fixture/config", "objects/y"]
    assert skipped == []
    changes, skipped, _ = take(
        *whole(20, "fixture/config"), *whole(21, "folder/HEAD"), *whole(22, "fixture/x"), root=root
    )
    assert [change.path for change in changes] == ["fixture/x", "folder/HEAD"]
    assert skipped == ["'fixture/config': git would take its folder for a repository"]
