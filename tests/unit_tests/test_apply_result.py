"""A result is applied in any process and days later, as far as its run's folder is still there."""

import os
from pathlib import Path

import pytest
from bundles import RUN_ID, Inside, make_user
from runs import Run, freeze, git, run_between

from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError
from langchain_sandbox.result import Commit, Ending, PatchReference, Receipt, SandboxResult, WorkspaceState
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.workspace.applying.apply_result import apply_result, revert_result
from langchain_sandbox.workspace.content import blob_name
from langchain_sandbox.workspace.inbound.snapshot import FILE
from langchain_sandbox.workspace.outbound.patch import Patch
from langchain_sandbox.workspace_config import ApplyPolicy

BASE = b"1\n2\n3\n4\n5\n"
NEW = b"1\n2\n3\n4\nfive\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))
    folder = RunFolder.of(RUN_ID)
    folder.make()
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_between(tmp_path / "root", {"file": (FILE, BASE)}, {"file": (FILE, NEW)})


def result_of(run: Run, **fields: object) -> SandboxResult:
    return SandboxResult(
        run_id=RUN_ID,
        status="completed",
        ok=True,
        ending=Ending(code="done", message=""),
        workspace=WorkspaceState(root=str(run.root)),
        receipt=Receipt(package="", patch_sha256=Patch(run.patch).sha256),
        **({"patch": run.patch.decode()} | fields),  # type: ignore[arg-type]
    )


def test_a_long_patch_is_read_from_where_it_was_or_from_the_runs_folder(run: Run, folder: RunFolder) -> None:
    reference = PatchReference(path=str(folder.path / "moved"), sha256="", size=len(run.patch))
    result = result_of(run, patch=None, patch_reference=reference)
    with pytest.raises(SandboxApplyError, match=r"The patch .*changes\.patch cannot be read"):
        apply_result(result, run.root, policy=ApplyPolicy())
    folder.patch.write_bytes(run.patch.replace(b"five", b"FIVE"))
    before = freeze(run.root)
    with pytest.raises(SandboxApplyError, match="SHA-256 differs"):
        apply_result(result, run.root, policy=ApplyPolicy())
    assert freeze(run.root) == before
    folder.patch.write_bytes(run.patch)
    assert apply_result(result, run.root, policy=ApplyPolicy()).paths == ["file"]


def test_a_pipe_that_a_result_names_as_its_patch_is_not_waited_for(run: Run, folder: RunFolder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    folder.patch.write_bytes(run.patch)
    reference = PatchReference(path=str(tmp_path / "pipe"), sha256="", size=len(run.patch))
    result = result_of(run, patch=None, patch_reference=reference)
    assert apply_result(result, run.root, policy=ApplyPolicy()).paths == ["file"]


@pytest.mark.parametrize("kept", [BASE, b"damaged\n", None])
def test_a_former_content_is_taken_from_the_runs_folder_only_if_it_is_what_it_says(
    run: Run, folder: RunFolder, kept: bytes | None
) -> None:
    folder.base("x").parent.mkdir()
    if kept is not None:
        folder.base(blob_name(BASE)).write_bytes(kept)
    (run.root / "file").write_bytes(b"0\n" + BASE)
    if kept == BASE:
        assert apply_result(result_of(run), run.root, policy=ApplyPolicy()).merged == ["file"]
        assert (run.root / "file").read_bytes() == b"0\n" + NEW
        return
    with pytest.raises(SandboxApplyError, match="what it was then is not known any more"):
        apply_result(result_of(run), run.root, policy=ApplyPolicy())
    git(run.root, "init", "--quiet", "--template=")
    git(run.root, "hash-object", "-w", "--stdin", stdin=BASE)
    assert apply_result(result_of(run), run.root, policy=ApplyPolicy()).merged == ["file"]


def test_without_anything_kept_an_unchanged_tree_is_changed_all_the_same(run: Run, folder: RunFolder) -> None:
    (folder.path / ".owner").unlink()
    folder.path.rmdir()
    assert apply_result(result_of(run), run.root, policy=ApplyPolicy()).paths == ["file"]
    assert revert_result(result_of(run), run.root).paths == ["file"]
    assert (run.root / "file").read_bytes() == BASE


def test_where_nothing_can_be_kept_the_changes_are_applied_and_cannot_be_reverted(run: Run, folder: RunFolder) -> None:
    folder.applied.write_text("no folder")
    assert apply_result(result_of(run), run.root, policy=ApplyPolicy()).paths == ["file"]
    with pytest.raises(SandboxApplyError, match="cannot be read"):
        revert_result(result_of(run), run.root)
    assert (run.root / "file").read_bytes() == NEW


@pytest.mark.usefixtures("folder")
def test_a_name_that_is_no_runs_is_refused(run: Run) -> None:
    result = result_of(run).model_copy(update={"run_id": "../../etc"})
    with pytest.raises(SandboxConfigError, match="not the name of a run"):
        apply_result(result, run.root, policy=ApplyPolicy())


def test_commits_come_with_the_runs_folder_and_their_files_without_it(tmp_path: Path, folder: RunFolder) -> None:
    inside = Inside(make_user(tmp_path / "user"), tmp_path)
    head = inside.commit({"src/new.py": b"1\n"})
    run = inside.run()
    commit = Commit(id=head, subject="", author="", email="", date="")
    workspace = WorkspaceState(root=str(inside.user), head=inside.base, branch="main")
    result = result_of(run, commits=[commit]).model_copy(update={"workspace": workspace})
    before = freeze(inside.user)
    with pytest.raises(SandboxApplyError, match=r'not on this machine any more.*commits="files"'):
        apply_result(result, inside.user, policy=ApplyPolicy())
    assert freeze(inside.user) == before
    folder.bundle.write_bytes((tmp_path / "bundle").read_bytes())
    assert apply_result(result, inside.user, policy=ApplyPolicy()).forwarded == "main"
    assert revert_result(result, inside.user).paths == ["src/new.py"]
    folder.bundle.unlink()
    assert apply_result(result, inside.user, policy=ApplyPolicy(commits="files")).paths == ["src/new.py"]
