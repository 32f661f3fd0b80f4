"""Files and history go in together; where the history cannot, the files go in alone and it is said."""

import errno
import os
import shutil
from functools import partial
from pathlib import Path

import pytest
from repositories import commit, forget_settings, git, init, write

from langchain_sandbox.config import Limits
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.workspace.inbound import intake as module
from langchain_sandbox.workspace.inbound.history import History
from langchain_sandbox.workspace.inbound.intake import Intake, take_intake
from langchain_sandbox.workspace.inbound.pack_memory import PackMemory
from langchain_sandbox.workspace.inbound.selection import Selection
from langchain_sandbox.workspace.inbound.snapshot import Snapshot
from langchain_sandbox.workspace_config import Workspace


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made: nothing may be left in it."""
    forget_settings(monkeypatch, tmp_path / "home")
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    # It is for the whole process, and has tests of its own.
    monkeypatch.setattr(PackMemory, "keep", lambda *_: None)
    return folder


@pytest.fixture
def root(tmp_path: Path, scratch: Path) -> Path:  # noqa: ARG001 - nobody's settings, from here on
    folder = init(tmp_path / "repository")
    commit(folder, a="a\n", **{"sub/b": "b\n"})
    return folder


def take(root: Path | None, limits: Limits | None = None, **options: object) -> Intake:
    workspace = Workspace(root, **options) if root else None  # type: ignore[arg-type]
    return take_intake(workspace, limits or Limits())


def test_no_workspace_goes_in_as_nothing(scratch: Path) -> None:
    intake = take(None)
    assert (intake.snapshot.entries, intake.history, intake.folder, intake.warnings) == ({}, None, "", [])
    intake.close()
    assert list(scratch.iterdir()) == []


def test_files_and_history_go_in_and_nothing_is_left_behind(root: Path, scratch: Path) -> None:
    write(root, a="changed\n")
    intake = take(root)
    assert set(intake.snapshot.entries) == {"a", "sub/b"}
    assert intake.history is not None
    assert (intake.history.head, intake.history.branch) == (git(root, "rev-parse", "HEAD").strip(), "main")
    assert (intake.history.differing, intake.history.filtered) == (["a"], [])
    pack = intake.history.folder
    assert {path.suffix for path in pack.glob("pack-*")} == {".pack", ".idx"}
    assert pack.parent == scratch
    assert pack.stat().st_mode & 0o777 == 0o700
    assert intake.warnings == []
    intake.close()
    assert list(scratch.iterdir()) == []


def test_a_folder_of_a_repository_has_its_place_in_it(root: Path) -> None:
    intake = take(root / "sub")
    assert (intake.folder, set(intake.snapshot.entries)) == ("sub/", {"b"})
    intake.close()


def test_what_is_left_out_is_warned_of(root: Path) -> None:
    write(root, **{"opencode.json": "{}"})
    os.mkfifo(root / "pipe")
    intake = take(root, include=["nothing"])
    assert intake.warnings == [
        "Left out on the way in: opencode.json: would configure OpenCode itself",
        "Left out on the way in: nothing: Workspace.include has it, and nothing is like it",
    ]
    intake.close()


def lose_an_object(root: Path) -> None:
    blob = git(root, "rev-parse", "HEAD:a").strip()
    (root / ".git/objects" / blob[:2] / blob[2:]).unlink()


def lose_the_trees(root: Path) -> None:
    shutil.rmtree(root / ".git/objects")
    (root / ".git/objects").mkdir()


def have_names_of_another_kind(root: Path) -> None:
    shutil.rmtree(root / ".git")
    init(root, "--object-format=sha256")
    commit(root)


def break_the_head(root: Path) -> None:
    (root / ".git/refs/heads/main").write_text("0" * 39 + "1\n")


@pytest.mark.parametrize("harm", [lose_an_object, lose_the_trees, have_names_of_another_kind, break_the_head])
def test_where_the_history_cannot_go_in_the_files_do_and_it_is_said(harm: object, root: Path, scratch: Path) -> None:
    harm(root)  # type: ignore[operator]
    intake = take(root)
    assert set(intake.snapshot.entries) == {"a", "sub/b"}
    assert intake.history is None
    [warning] = intake.warnings
    assert warning.startswith("The repository's history stayed behind: ")
    intake.close()
    assert list(scratch.iterdir()) == []


def test_a_history_without_room_stays_behind_and_the_limit_is_named(root: Path, scratch: Path) -> None:
    commit(root, message="big", big=os.urandom(100_000))
    git(root, "rm", "--quiet", "big")
    git(root, "commit", "--quiet", "--message", "gone")
    intake = take(root, Limits(workspace=12_500), history=1)
    assert intake.history is not None  # of the last commit alone
    intake.close()
    write(root, a=os.urandom(8000))
    git(root, "add", "a")
    intake = take(root, Limits(workspace=12_500))
    assert intake.history is None
    assert "Limits.workspace" in intake.warnings[0]
    intake.close()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("limits", [Limits(workspace=4096), Limits(workspace_files=1), Limits(workspace_file=1)])
def test_too_much_leaves_nothing_behind(limits: Limits, root: Path, scratch: Path) -> None:
    with pytest.raises(SandboxConfigError):
        take(root, limits)
    assert list(scratch.iterdir()) == []


def test_a_file_that_cannot_be_read_leaves_nothing_behind(
    root: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: Selection) -> Snapshot:
        msg = "a cannot be read"
        raise SandboxConfigError(msg)

    monkeypatch.setattr(module, "fill_snapshot", fill)
    with pytest.raises(SandboxConfigError, match="a cannot be read"):
        take(root)
    assert list(scratch.iterdir()) == []


def test_an_error_that_nobody_expects_leaves_nothing_behind(
    root: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(_: History, __: Snapshot) -> None:
        raise MemoryError

    snapshots: list[Snapshot] = []
    fill = module.fill_snapshot
    monkeypatch.setattr(module, "fill_snapshot", lambda selection: snapshots.append(fill(selection)) or snapshots[-1])
    monkeypatch.setattr(History, "compare", compare)
    with pytest.raises(MemoryError):
        take(root)
    assert list(scratch.iterdir()) == []
    assert snapshots[0].archive.closed


def test_a_full_disk_costs_the_history_alone(root: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_scratch() -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("langchain_sandbox.workspace.inbound.history.make_scratch", make_scratch)
    intake = take(root)
    assert (set(intake.snapshot.entries), intake.history) == ({"a", "sub/b"}, None)
    assert intake.warnings == ["The repository's history stayed behind: [Errno 28] No space left on device"]
    intake.close()
    assert list(scratch.iterdir()) == []


def test_where_files_belong_is_told_before_which_ones_go_in(root: Path) -> None:
    told: list[tuple[str, str, list[str]]] = []

    def note(step: str, selection: Selection) -> None:
        told.append((step, selection.folder, sorted(selection.files)))

    intake = take_intake(
        Workspace(root / "sub"), Limits(), on_found=partial(note, "found"), on_selected=partial(note, "selected")
    )
    intake.close()
    assert told == [("found", "sub/", []), ("selected", "sub/", ["b"])]
