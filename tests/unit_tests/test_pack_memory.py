"""A pack is made once for a commit, and never handed out for another history than its own."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from repositories import commit, duplicate, forget_settings, git, init

from langchain_sandbox.config import Limits
from langchain_sandbox.workspace.inbound import pack_memory, packing
from langchain_sandbox.workspace.inbound.history import History, Inquiry, take_history
from langchain_sandbox.workspace.inbound.pack_memory import PackMemory, Remembered, Source
from langchain_sandbox.workspace.inbound.selection import select_files
from langchain_sandbox.workspace_config import Workspace


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PackMemory:
    """One of our own, in a folder of our own."""
    forget_settings(monkeypatch, tmp_path / "home")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    own = PackMemory()
    monkeypatch.setattr(packing, "_memory", own)
    return own


@pytest.fixture
def root(tmp_path: Path, memory: PackMemory) -> Path:  # noqa: ARG001 - whose folder is made first
    folder = init(tmp_path / "repository")
    for number in range(3):
        commit(folder, f"{number}", a=f"{number}\n")
    return folder


def take(root: Path, *, depth: int = 200) -> History:
    selection = select_files(Workspace(root), Limits())
    with ThreadPoolExecutor(1) as helper:
        history = take_history(selection, Inquiry.begin(selection, depth=depth, helpers=helper), room=1_000_000)
    assert history is not None
    return history


def look(history: History) -> tuple[int, str, list[str]]:
    """The pack's inode, which tells whether it was made anew, its name, and where the history is cut."""
    inode = (history.folder / f"{history.pack}.pack").stat().st_ino
    history.close()
    return inode, history.pack, history.shallow


def test_the_same_commit_is_packed_once_however_its_repository_keeps_it(root: Path) -> None:
    first = look(take(root))
    git(root, "repack", "-a", "-d", "-q")
    git(root, "gc", "-q", "--prune=now")
    (root / "a").write_text("changed\n")
    assert look(take(root)) == first


@pytest.mark.parametrize(
    "change",
    [
        lambda root: commit(root, a="new\n"),
        lambda root: (root / "b").write_text("b\n") and git(root, "add", "b"),
        lambda root: (root / ".git/shallow").write_text(git(root, "rev-parse", "HEAD")),
        lambda root: (
            (root / ".git/info").mkdir(exist_ok=True)
            or (root / ".git/info/grafts").write_text(git(root, "rev-parse", "HEAD"))
        ),
        lambda root: os.rename(root, f"{root}-old") or duplicate(Path(f"{root}-old"), root),  # noqa: PTH104
    ],
    ids=["commit", "staged", "shallow", "grafts", "another"],
)
def test_what_goes_into_a_pack_makes_it_another(change: object, root: Path) -> None:
    first = look(take(root))
    change(root)  # type: ignore[operator]
    again = take(root)
    try:
        assert (again.folder / f"{again.pack}.pack").stat().st_ino != first[0]
        fresh = PackMemory()
        packing._memory, kept = fresh, packing._memory
        anew = take(root)
        packing._memory = kept
        assert (again.pack, again.shallow) == (anew.pack, anew.shallow)
        anew.close()
        fresh.clear()
    finally:
        again.close()


def test_a_depth_has_a_pack_of_its_own(root: Path) -> None:
    whole, one = look(take(root)), look(take(root, depth=1))
    assert whole[1] != one[1]
    assert (look(take(root)), look(take(root, depth=1))) == (whole, one)


def test_the_memory_is_bounded_and_removed(root: Path, memory: PackMemory, tmp_path: Path) -> None:
    for number in range(6):
        commit(root, a=f"more {number}\n")
        look(take(root))
    [folder] = (tmp_path / "scratch").iterdir()
    assert len(list(folder.glob("packs/*.pack"))) == len(list(folder.glob("packs/*.idx"))) == 4
    memory.clear()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_is_too_big_is_not_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_memory, "_BYTES", 100)
    assert look(take(root))[1:] == look(take(root))[1:]
    history = take(root)
    assert (history.folder / f"{history.pack}.pack").stat().st_nlink == 1
    history.close()


def test_a_pack_that_somebody_has_removed_is_made_again(root: Path, tmp_path: Path) -> None:
    first = look(take(root))
    for pack in (tmp_path / "scratch").glob("*/packs/*.pack"):
        pack.unlink()
    second = look(take(root))
    assert second[1:] == first[1:]
    assert look(take(root)) == second


@pytest.mark.parametrize("ending", ["pack", "idx"])
def test_half_a_pack_is_not_handed_out(ending: str, memory: PackMemory, tmp_path: Path) -> None:
    made, given = tmp_path / "made", tmp_path / "given"
    for folder in (made, given):
        folder.mkdir()
    for name in ("p.pack", "p.idx"):
        (made / name).write_bytes(b"x")
    source = Source(made, (0, 0), "head", 1, b"", b"")
    remembered = Remembered(source, (), (), "p")
    memory.keep(remembered, made)
    assert memory.hand_out(remembered, given)
    for path in given.iterdir():
        path.unlink()
    next((tmp_path / "scratch").glob(f"*/packs/p.{ending}")).unlink()
    assert not memory.hand_out(remembered, given)
    assert list(given.iterdir()) == []


def test_a_process_takes_its_packs_with_it_and_not_its_parents(tmp_path: Path, root: Path) -> None:
    script = (
        "import os, sys, pathlib\n"
        "from langchain_sandbox.config import Limits\n"
        "from langchain_sandbox.workspace.inbound.intake import take_intake\n"
        "from langchain_sandbox.workspace_config import Workspace\n"
        "workspace = Workspace(pathlib.Path(sys.argv[1]))\n"
        "take_intake(workspace, Limits()).close()\n"
        "if not os.fork():\n"
        "    sys.exit()\n"
        "os.wait()\n"
        "print(len(list(pathlib.Path(os.environ['TMPDIR']).glob('*/packs/*.pack'))))\n"
    )
    own = tmp_path / "own"
    own.mkdir()
    command = [sys.executable, "-c", script, str(root)]
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(own)}, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert list(own.iterdir()) == []
