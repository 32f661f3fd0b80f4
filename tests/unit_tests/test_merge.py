"""Where the tree moved on, each path is merged for itself; what cannot be is named, and then nothing is touched."""

import io
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from runs import Run, freeze, git, init, make_into, merge_lines, run_between, run_on
from trees import Tree, add, contents, fates, paths, read, sides, trees

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.applying.apply import find_in_repository
from langchain_sandbox.workspace.content import blob_name
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.outbound.patch_header import parse_patch
from langchain_sandbox.workspace.paths import parents

Side = tuple[int, bytes]

BASE = b"1\n2\n3\n4\n5\n6\n7\n"
NEW = BASE.replace(b"6\n", b"six\n")
MINE = BASE.replace(b"2\n", b"two\n")
BOTH = MINE.replace(b"6\n", b"six\n")


def run_for(root: Path, new: Tree, old: Tree | None = None) -> Run:
    return run_between(root, old if old is not None else {"file": (FILE, BASE)}, new)


def assert_conflict(run: Run, *words: str, **policy: str) -> None:
    """It is refused, each of the words is said, and nothing is touched."""
    before = freeze(run.root)
    with pytest.raises(SandboxApplyError, match=r"^Nothing was changed, because of conflicts: ") as refusal:
        run.apply(**policy)
    for word in words:
        assert word in str(refusal.value)
    assert freeze(run.root) == before


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("base", "mine", "new", "both"),
    [
        (BASE, MINE, NEW, BOTH),
        tuple(content.replace(b"\n", b"\r\n") for content in (BASE, MINE, NEW, BOTH)),
        (BASE + b"end", MINE + b"end", NEW + b"end", BOTH + b"end"),
        (BASE + b"end", BASE.replace(b"1\n", b"") + b"end", BASE + b"end\n", BASE.replace(b"1\n", b"") + b"end\n"),
        tuple(content.replace(b"4", "vier ü \u2028".encode()) for content in (BASE, MINE, NEW, BOTH)),
    ],
    ids=["plain", "crlf", "no newline at the end", "newline at the end", "not only ascii"],
)
def test_other_lines_are_merged(root: Path, base: bytes, mine: bytes, new: bytes, both: bytes) -> None:
    run = run_for(root, {"file": (FILE, new)}, {"file": (FILE, base)})
    (root / "file").write_bytes(mine)
    report = run.apply()
    assert (report.paths, report.merged) == (["file"], ["file"])
    assert (root / "file").read_bytes() == both


def test_applying_twice_after_a_merge_changes_nothing_the_second_time(root: Path) -> None:
    run = run_for(root, {"file": (FILE, NEW)})
    (root / "file").write_bytes(MINE)
    run.apply()
    after = freeze(root)
    assert run.apply().paths == []
    assert freeze(root) == after


def test_a_merged_file_keeps_its_permissions(root: Path) -> None:
    run = run_for(root, {"file": (FILE, NEW)})
    (root / "file").write_bytes(MINE)
    (root / "file").chmod(0o604)
    run.apply()
    assert (root / "file").stat().st_mode & 0o777 == 0o604


@pytest.mark.parametrize(
    ("mine", "reason"),
    [
        ((FILE, BASE.replace(b"6\n", b"sechs\n")), "in the same place"),
        ((FILE, b"a\0b"), "in the same place"),
        ((FILE, BASE + b"\xff"), "in the same place"),
        ((SYMLINK, b"elsewhere"), "not a file on all sides"),
        (None, "not there any more"),
    ],
    ids=["same line", "binary here", "not text here", "link here", "deleted here"],
)
def test_what_cannot_be_merged_is_named_with_why(root: Path, mine: tuple[int, bytes] | None, reason: str) -> None:
    run = run_for(root, {"file": (FILE, NEW), "other": (FILE, b"new\n")})
    make_into(root, {"file": mine} if mine else {})
    assert_conflict(run, "file", reason)


@pytest.mark.parametrize(
    "new",
    [{"file": (FILE, NEW)}, {}, {"file": (SYMLINK, b"x")}, {"file": (EXECUTABLE, BASE)}, {"renamed": (FILE, BASE)}],
    ids=["edit", "delete", "link", "mode", "rename"],
)
@pytest.mark.parametrize("mine", ["fifo", "folder", "renamed", "edited"])
def test_whatever_the_user_put_there_is_never_lost(root: Path, new: Tree, mine: str) -> None:
    run = run_for(root, new)
    (root / "file").unlink() if mine != "renamed" else (root / "file").rename(root / "my own")
    match mine:
        case "fifo":
            os.mkfifo(root / "file")
        case "folder":
            (root / "file").mkdir()
            (root / "file/inner").write_text("mine\n")
        case "edited":
            (root / "file").write_bytes(MINE)
    if new == {} and mine in {"folder", "renamed"}:  # it is gone already, as it is to be
        before = freeze(root)
        assert run.apply().paths == []
        assert freeze(root) == before
    elif mine == "edited" and new in ({"file": (EXECUTABLE, BASE)}, {"file": (FILE, NEW)}):
        assert run.apply().paths == ["file"]
        assert read(root) == {"file": (FILE, BOTH) if new["file"][1] == NEW else (EXECUTABLE, MINE)}
    elif mine == "edited" and new == {"renamed": (FILE, BASE)}:
        assert run.apply().merged == ["renamed"]
        assert read(root) == {"renamed": (FILE, MINE)}
    else:
        assert_conflict(run, "file")


@pytest.mark.parametrize("new", [{"file": (FILE, NEW)}, {"file": (EXECUTABLE, BASE)}, {"moved": (FILE, BASE)}, {}])
def test_what_both_did_is_done(root: Path, new: Tree) -> None:
    run = run_for(root, new)
    make_into(root, new)
    before = freeze(root)
    assert run.apply().paths == []
    assert freeze(root) == before


def test_what_both_did_to_one_file_is_done_and_the_rest_is_applied(root: Path) -> None:
    run = run_for(root, {"file": (FILE, NEW), "other": (FILE, b"new\n")})
    (root / "file").write_bytes(NEW)
    before = freeze(root)["file"]
    assert run.apply().paths == ["other"]
    assert freeze(root)["file"] == before


def test_an_added_file_that_is_there_with_the_same_content_is_done_and_with_another_a_conflict(root: Path) -> None:
    run = run_for(root, {"file": (FILE, BASE), "a": (FILE, b"x\n"), "b": (FILE, b"y\n")})
    (root / "a").write_bytes(b"x\n")
    (root / "b").write_bytes(b"mine\n")
    assert_conflict(run, "b: there already, with another content")
    (root / "b").unlink()
    assert run.apply().paths == ["b"]


def test_an_added_file_where_the_user_made_a_folder_is_refused_by_its_name(root: Path) -> None:
    run = run_for(root, {"file": (FILE, BASE), "a": (FILE, b"x\n")})
    (root / "a").mkdir()
    before = freeze(root)
    with pytest.raises(SandboxApplyError, match=r"\ba: .*nothing was changed"):
        run.apply()
    assert freeze(root) == before


@pytest.mark.parametrize(
    ("new", "mine", "expected"),
    [
        ((EXECUTABLE, BASE), (FILE, MINE), (EXECUTABLE, MINE)),
        ((FILE, NEW), (EXECUTABLE, BASE), (EXECUTABLE, NEW)),
        ((EXECUTABLE, NEW), (EXECUTABLE, BASE), (EXECUTABLE, NEW)),
        ((EXECUTABLE, NEW), (FILE, MINE), (EXECUTABLE, BOTH)),
        ((EXECUTABLE, NEW), (EXECUTABLE, MINE), (EXECUTABLE, BOTH)),
        ((FILE, NEW), (EXECUTABLE, MINE), (EXECUTABLE, BOTH)),
        ((FILE, NEW), (EXECUTABLE, NEW), (EXECUTABLE, NEW)),
    ],
)
def test_modes_are_merged_as_contents_are(
    root: Path, new: tuple[int, bytes], mine: tuple[int, bytes], expected: tuple[int, bytes]
) -> None:
    run = run_for(root, {"file": new})
    make_into(root, {"file": mine})
    run.apply()
    assert read(root) == {"file": expected}
    assert run.apply().paths == []


def test_binary_files_changed_on_both_sides_are_a_conflict_and_on_one_side_none(root: Path) -> None:
    old = {"a": (FILE, b"\0old"), "b": (FILE, b"\0old"), "c": (FILE, b"\0old")}
    run = run_for(root, {"a": (FILE, b"\0new"), "b": (FILE, b"\0old"), "c": (FILE, b"\0new")}, old)
    (root / "b").write_bytes(b"\0mine")
    (root / "c").write_bytes(b"\0mine")
    assert_conflict(run, "c: changed here and in the sandbox in the same place")
    (root / "c").write_bytes(b"\0old")
    assert run.apply().paths == ["a", "c"]
    assert (root / "b").read_bytes() == b"\0mine"


def test_a_file_that_was_renamed_and_changed_there_takes_what_the_user_wrote_meanwhile_with_it(root: Path) -> None:
    run = run_for(root, {"dir/renamed": (FILE, NEW)})
    (root / "file").write_bytes(MINE)
    report = run.apply()
    assert (report.paths, report.merged) == (["dir/renamed", "file"], ["dir/renamed"])
    assert read(root) == {"dir/renamed": (FILE, BOTH)}
    assert run.apply().paths == []


@pytest.mark.parametrize("new", [{"renamed": (FILE, BASE)}, {"renamed": (EXECUTABLE, BASE)}, {"renamed": (FILE, NEW)}])
def test_a_rename_is_done_once(root: Path, new: Tree) -> None:
    run = run_for(root, new)
    assert run.apply().paths == ["file", "renamed"]
    assert read(root) == new
    after = freeze(root)
    assert run.apply().paths == []
    assert freeze(root) == after


@pytest.mark.parametrize("mode", [FILE, EXECUTABLE])
def test_a_renamed_file_can_be_read_by_those_who_could_and_nobody_else(root: Path, mode: int) -> None:
    run = run_for(root, {"renamed": (mode, BASE)})
    (root / "file").chmod(0o600)
    run.apply()
    assert (root / "renamed").stat().st_mode & 0o777 == (0o700 if mode == EXECUTABLE else 0o600)


def test_a_rename_to_where_something_else_is_or_from_where_nothing_is_is_a_conflict(root: Path) -> None:
    run = run_for(root, {"renamed": (FILE, BASE)})
    (root / "renamed").write_bytes(b"mine\n")
    assert_conflict(run, "renamed: there already, with another content")
    (root / "renamed").unlink()
    (root / "file").unlink()
    assert_conflict(run, "file: not there any more")


@pytest.mark.parametrize("new", [{"file": (FILE, NEW)}, {"file": (EXECUTABLE, BASE)}, {"renamed": (FILE, BASE)}, {}])
def test_a_user_who_wants_no_merge_gets_none(root: Path, new: Tree) -> None:
    run = run_for(root, new)
    (root / "file").write_bytes(MINE)
    assert_conflict(run, "file", moved="refuse")
    (root / "file").write_bytes(BASE)
    run.apply(moved="refuse")
    assert read(root) == new


def test_every_conflict_is_named_and_many_are_counted(root: Path) -> None:
    names = [f"file{number}" for number in range(8)]
    run = run_for(root, dict.fromkeys(names, (FILE, NEW)), dict.fromkeys(names, (FILE, BASE)))
    make_into(root, dict.fromkeys(names[:3], (FILE, b"mine\n")) | dict.fromkeys(names[3:], (FILE, BASE)))
    assert_conflict(run, *names[:3])
    make_into(root, dict.fromkeys(names, (FILE, b"mine\n")))
    assert_conflict(run, *names[:5], "and 3 more")


def test_conflicts_leave_the_index_and_everything_of_gits_as_it_is(root: Path) -> None:
    root.mkdir()
    (root / "file").write_bytes(BASE)
    init(root)
    run = run_on(root, Change("file", FILE, NEW), Change("new", FILE, b""))
    (root / "file").write_bytes(b"mine\n")
    git(root, "add", "file")
    assert_conflict(run, "file")


def test_a_former_content_is_found_with_the_run_or_in_git_and_else_it_is_a_conflict(root: Path) -> None:
    root.mkdir()
    (root / "file").write_bytes(BASE)
    init(root)
    run = run_on(root, Change("file", FILE, NEW))
    (root / "file").write_bytes(MINE)
    bases, run.bases = run.bases, {}
    assert_conflict(run, "file: not as when the run began, and what it was then is not known any more")
    in_git = find_in_repository(root)
    assert in_git(blob_name(b"nowhere")) is None
    run.bases = {name: content for name in bases if isinstance(content := in_git(name), bytes)}
    assert run.bases == bases
    run.apply()
    assert (root / "file").read_bytes() == BOTH


def test_a_result_that_the_user_has_committed_is_done(root: Path) -> None:
    root.mkdir()
    (root / "file").write_bytes(BASE)
    (root / "old").write_bytes(b"moves\n")
    init(root)
    run = run_on(root, Change("file", FILE, NEW), Change("old", None), Change("renamed", FILE, b"moves\n"))
    run.apply()
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=mine")
    before = freeze(root)
    run.bases = {}
    assert run.apply().paths == []
    assert freeze(root) == before


class Conflict(Exception):  # noqa: N818 - that is what it is
    pass


@st.composite
def three(draw: st.DrawFn) -> tuple[Tree, Tree, Tree]:
    """A tree, what became of it in a sandbox, and what its user made of it meanwhile."""
    old, new = draw(trees())
    mine: Tree = {}
    lines = contents.map(lambda more: more[:40])
    for path, (mode, content) in old.items():
        kept = st.just({path: (mode, content)})
        before = lines.map(lambda more, p=path, m=mode, c=content: {p: (m, c if m == SYMLINK else more + c)})
        for name, side in draw(st.one_of(kept, kept, before, fates(path, mode, content))).items():
            add(mine, name, side)
    for path, side in draw(st.dictionaries(paths, sides, max_size=2)).items():
        add(mine, path, side)
    return old, new, mine


def merge_side(base: Side | None, new: Side | None, here: Side | None) -> Side | None:
    """What must come of one path.

    Raises:
        Conflict: If nothing can.
    """
    if new in (base, here):
        return here
    if base == here:
        return new
    if base is None or new is None or here is None or SYMLINK in {base[0], new[0], here[0]}:
        raise Conflict
    mode = new[0] if here[0] == base[0] else here[0]
    if here[1] in {base[1], new[1]}:
        return mode, new[1]
    content = here[1] if new[1] == base[1] else merge_lines(here[1], base[1], new[1])
    if content is None:
        raise Conflict
    return mode, content


def merge_trees(old: Tree, new: Tree, mine: Tree, renames: dict[str, str]) -> Tree:
    """What must come of a tree, path by path, where what was renamed is one path.

    Raises:
        Conflict: If nothing can.
    """
    merged = dict[str, Side | None]()
    for path in (old.keys() | new.keys() | mine.keys()) - renames.keys() - set(renames.values()):
        merged[path] = merge_side(old.get(path), new.get(path), mine.get(path))
    for name, path in renames.items():
        here, there = mine.get(name), mine.get(path)
        if there is not None and (there != new[path] or here is not None):
            raise Conflict
        if there is None and here is None:
            raise Conflict
        merged[path] = there or merge_side(old[name], new[path], here)
    tree = {path: side for path, side in merged.items() if side is not None}
    if any(parent in tree for path in tree for parent in parents(path)):
        raise Conflict
    return tree


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(three())
@example(({"f": (FILE, BASE)}, {"f": (FILE, NEW)}, {"f": (FILE, MINE)}))
@example(({"f": (FILE, BASE)}, {"g": (FILE, BASE)}, {"g": (FILE, b"mine")}))
@example(({"f": (FILE, BASE)}, {"f": (EXECUTABLE, NEW)}, {"f": (EXECUTABLE, MINE)}))
@example(({"f": (FILE, BASE)}, {"f/g": (FILE, BASE)}, {"f": (FILE, MINE)}))
@example(({"f/g": (FILE, BASE)}, {"f": (FILE, BASE)}, {"f/g": (FILE, BASE), "f/h": (FILE, BASE)}))
def test_every_path_is_what_a_merge_of_it_gives_or_nothing_is_touched(three: tuple[Tree, Tree, Tree]) -> None:
    old, new, mine = three
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        run = run_between(root, old, new)
        make_into(root, mine)
        before = freeze(root)
        files = parse_patch(io.StringIO(run.patch.decode()))
        renames = {file.old_path: file.path for file in files if file.kind == "renamed" and file.old_path is not None}
        try:
            expected = merge_trees(old, new, mine, renames)
        except Conflict:
            with pytest.raises(SandboxApplyError):
                run.apply(risky="allow")
            assert freeze(root) == before
            return
        run.apply(risky="allow")
        assert read(root) == expected
        after = freeze(root)
        assert run.apply(risky="allow").paths == []
        assert freeze(root) == after
