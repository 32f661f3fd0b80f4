"""A revert puts the tree back exactly as it was, or touches nothing."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import Run, freeze, git, init, run_on
from trees import read

from langchain_sandbox.config import Limits
from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.result import Ending, Receipt, SandboxResult, WorkspaceState
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.sandbox import Sandbox
from langchain_sandbox.workspace.applying import tree as tree_module
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK, take_snapshot
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.outbound.keep import keep_changes
from langchain_sandbox.workspace.outbound.patch import build_patch

LINES = b"1\n2\n3\n4\n5\n6\n7\n"
CHANGES = [
    Change("added/deep/file", FILE, b"new\n"),
    Change("odd", EXECUTABLE, LINES.replace(b"6", b"six")),
    Change("gone/deep/only", None),
    Change("link", SYMLINK, b"odd"),
    Change("file", None),
    Change("file/inner", FILE, b"new\n"),
    Change("folder/a", None),
    Change("folder", FILE, b"new\n"),
    Change("moved", None),
    Change("renamed", FILE, b"moves\n"),
    Change("script", FILE, b"#!/bin/sh\n"),
    Change("was link", FILE, b"new\n"),
    Change(os.fsdecode(b"caf\xe9"), FILE, b"new\xff\n"),
]

State = dict[str, tuple[object, ...]]


def build(root: Path) -> Path:
    (root / "gone/deep").mkdir(parents=True)
    (root / "folder").mkdir()
    bits = {"odd": 0o604, "gone/deep/only": 0o460, "script": 0o751, "moved": 0o600, "file": 0o666, "folder/a": 0o700}
    for name, mode in bits.items():
        (root / name).write_bytes({"odd": LINES, "script": b"#!/bin/sh\n", "moved": b"moves\n"}.get(name, b"old\n"))
        (root / name).chmod(mode)
    (root / os.fsdecode(b"caf\xe9")).write_bytes(b"old\xff\n")
    (root / "link").symlink_to("./gone//deep")
    (root / "was link").symlink_to("nowhere")
    return root


def look(root: Path) -> State:
    """Contents, kinds and permissions, of folders as well; all that a revert is to bring back."""
    found = freeze(root)
    return {path: (state[0], state[-1]) for path, state in found.items() if not path.startswith(".git")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "root")


@pytest.fixture
def run(root: Path) -> Run:
    return run_on(root, *CHANGES)


def test_contents_permissions_links_and_folders_come_back(root: Path, run: Run) -> None:
    before = look(root)
    applied = run.apply().paths
    after = read(root)
    assert after["odd"] == (EXECUTABLE, LINES.replace(b"6", b"six"))
    assert not (root / "gone").exists()
    assert run.revert().paths == applied
    assert look(root) == before


def test_a_folder_that_comes_back_is_as_open_as_it_was(root: Path) -> None:
    (root / "gone").chmod(0o700)
    (root / "gone/deep").chmod(0o2750)
    run, before = run_on(root, Change("gone/deep/only", None)), look(root)
    run.apply()
    run.revert()
    assert look(root) == before


def test_more_files_than_a_process_may_have_open_come_back(root: Path) -> None:
    names = [f"many/{number}" for number in range(200)]
    (root / "many").mkdir()
    for name in names:
        (root / name).write_text(f"old {name}\n")
    run = run_on(root, *(Change(name, FILE, f"new {name}\n".encode()) for name in names))
    before, limits = look(root), resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count is all that is wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 50, limits[1]))
    try:
        run.apply()
        assert len(run.revert().paths) == len(names)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert look(root) == before


def test_again_and_again(root: Path, run: Run) -> None:
    before = look(root)
    paths = run.apply().paths
    after = look(root)
    for _ in range(2):
        assert run.revert().paths == paths
        assert look(root) == before
        assert run.revert().paths == []
        assert run.apply().paths == paths
        assert run.apply().paths == []
        assert look(root) == after


def test_after_a_merge_what_the_user_had_written_comes_back(root: Path, run: Run) -> None:
    (root / "odd").write_bytes(LINES.replace(b"2", b"two"))
    before = look(root)
    assert run.apply().merged == ["odd"]
    assert run.apply().paths == []
    run.revert()
    assert look(root) == before


@pytest.mark.parametrize("meanwhile", ["edited", "deleted", "mode", "added back", "link", "folder"])
def test_what_the_user_has_changed_since_is_named_and_nothing_is_touched(root: Path, run: Run, meanwhile: str) -> None:
    run.apply()
    match meanwhile:
        case "edited":
            (root / "odd").write_text("mine\n")
        case "deleted":
            (root / "odd").unlink()
        case "mode":
            (root / "odd").chmod(0o644)
        case "added back":
            (root / "moved").write_text("mine\n")
        case "link":
            (root / "link").unlink()
            (root / "link").symlink_to("mine")
        case "folder":
            (root / "odd").unlink()
            (root / "odd").mkdir()
            (root / "odd/mine").write_text("mine\n")
    before = freeze(root)
    with pytest.raises(SandboxApplyError, match=r"(odd|moved|link): changed since it was applied"):
        run.revert()
    assert freeze(root) == before


def test_what_the_user_does_elsewhere_stays(root: Path, run: Run) -> None:
    run.apply()
    (root / "added/mine").write_text("mine\n")
    (root / "gone").mkdir()
    (root / "gone/mine").write_text("mine\n")
    run.revert()
    assert (root / "added/mine").read_text() == (root / "gone/mine").read_text() == "mine\n"
    assert not (root / "added/deep").exists()


def test_what_the_user_has_put_back_by_hand_is_put_back_already(root: Path, run: Run) -> None:
    run.apply()
    (root / "renamed").rename(root / "moved")
    (root / "moved").chmod(0o640)
    paths = run.revert().paths
    assert not {"renamed", "moved"} & set(paths)
    assert (root / "moved").stat().st_mode & 0o777 == 0o640


def test_what_the_user_does_alike_after_a_revert_is_theirs(root: Path, run: Run) -> None:
    run.apply()
    run.revert()
    (root / "odd").write_bytes(LINES.replace(b"6", b"six"))
    (root / "odd").chmod(0o755)
    assert "odd" not in run.apply().paths
    run.revert()
    assert read(root)["odd"] == (EXECUTABLE, LINES.replace(b"6", b"six"))


def test_what_was_never_applied_cannot_be_reverted(root: Path, run: Run) -> None:
    before = freeze(root)
    with pytest.raises(SandboxApplyError, match="Nothing is known of what"):
        run.revert()
    assert freeze(root) == before


def test_a_refused_apply_leaves_nothing_to_revert(root: Path, run: Run) -> None:
    (root / "added").write_text("mine\n")
    before = freeze(root)
    with pytest.raises(SandboxApplyError, match="added/deep/file"):
        run.apply()
    with pytest.raises(SandboxApplyError, match="Nothing is known of what"):
        run.revert()
    assert freeze(root) == before


def test_another_tree_is_not_changed_into_what_this_one_was(run: Run, tmp_path: Path) -> None:
    run.apply()
    run.root = build(tmp_path / "other")
    before = freeze(run.root)
    with pytest.raises(SandboxApplyError, match=r"Nothing is known of what .*other was before"):
        run.revert()
    assert freeze(run.root) == before


def test_a_tree_that_was_moved_is_still_the_one(root: Path, run: Run, tmp_path: Path) -> None:
    before = look(root)
    run.apply()
    run.root = root.rename(tmp_path / "moved")
    run.revert()
    assert look(run.root) == before


@pytest.mark.parametrize("damage", ["no content", "no record", "nonsense"])
def test_a_record_that_is_damaged_touches_nothing(root: Path, run: Run, damage: str) -> None:
    run.apply()
    assert run.record is not None
    for path in run.record.iterdir():
        if (path.name == "record.json") == (damage != "no content"):
            path.write_text('{"root": 1}') if damage == "nonsense" else path.unlink()
    before = freeze(root)
    with pytest.raises(SandboxApplyError):
        run.revert()
    assert freeze(root) == before


def kill_at(number: int) -> Callable[[str], None]:
    taken: list[str] = []

    def step(name: str) -> None:
        taken.append(name)
        if len(taken) > number:
            os.kill(os.getpid(), signal.SIGKILL)

    return step


def in_child(action: Callable[[], object], step: Callable[[str], None]) -> int:
    child = os.fork()
    if child == 0:
        tree_module._step = step
        action()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_after_an_apply_or_a_revert_that_was_killed_the_tree_can_be_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, back = list[str](), list[str]()
    with monkeypatch.context() as patched:
        whole = run_on(build(tmp_path / "whole"), *CHANGES)
        patched.setattr(tree_module, "_step", names.append)
        whole.apply()
        patched.setattr(tree_module, "_step", back.append)
        whole.revert()
    whole.apply()
    first = next(at for at, name in enumerate(names) if "/old/" in name)
    done = next(at for at, name in enumerate(names) if name.endswith("done.json"))
    for number in (0, first - 1, first, (first + done) // 2, done, done + 1, len(names) - 1):
        run = run_on(build(tmp_path / f"killed-{number}"), *CHANGES)
        before = look(run.root)
        assert in_child(run.apply, kill_at(number)) == -signal.SIGKILL
        assert bool(run.revert().paths) == (number >= first), names[number]
        assert look(run.root) == before
        run.apply()
        assert look(run.root) == look(whole.root)
        assert in_child(run.revert, kill_at(min(number, len(back) - 1))) == -signal.SIGKILL
        run.revert()
        assert look(run.root) == before


def test_another_process_reverts_with_the_results_json_and_the_runs_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("SANDBOX_MODEL_BASE_URL", "http://127.0.0.1:9/v1")
    snapshot = take_snapshot(root, Limits())
    patch = build_patch(snapshot, CHANGES)
    folder = RunFolder.of("0123456789ab")
    folder.make()
    keep_changes(folder, patch=patch, changes=CHANGES, snapshot=snapshot, bundle=None)
    snapshot.close()
    result = SandboxResult(
        run_id="0123456789ab",
        status="completed",
        ok=True,
        ending=Ending(code="done", message=""),
        patch=patch.text,
        workspace=WorkspaceState(root=str(root)),
        receipt=Receipt(package="", patch_sha256=patch.sha256),
    )
    patch.close()
    before = look(root)
    (tmp_path / "result.json").write_text(result.model_dump_json())
    program = (
        "import sys; from langchain_sandbox import Sandbox; from langchain_sandbox.result import SandboxResult\n"
        "result = SandboxResult.model_validate_json(open(sys.argv[2]).read())\n"
        "getattr(Sandbox(), sys.argv[1])(result)\n"
    )
    command = [sys.executable, "-c", program, "apply", str(tmp_path / "result.json")]
    subprocess.run(command, check=True, timeout=60)
    assert (root / "renamed").read_bytes() == b"moves\n"
    assert Sandbox().revert(result).paths
    assert look(root) == before

    with pytest.raises(SandboxApplyError, match="SHA-256 differs"):
        Sandbox().apply(result.model_copy(update={"patch": (result.patch or "").replace("new", "bad")}))
    assert look(root) == before
    folder.path.rename(tmp_path / "elsewhere")
    with pytest.raises(SandboxApplyError, match="Nothing is known of what"):
        Sandbox().revert(result)
    assert look(root) == before


def test_git_sees_no_difference_after_a_revert(root: Path) -> None:
    init(root)
    (root / "staged").write_text("1\n")
    git(root, "add", "staged")
    (root / "odd").write_bytes(b"0\n" + LINES)
    status, index = git(root, "status", "--porcelain"), git(root, "ls-files", "--stage")
    run = run_on(root, *CHANGES)
    run.apply()
    assert git(root, "status", "--porcelain") != status
    run.revert()
    assert (git(root, "status", "--porcelain"), git(root, "ls-files", "--stage")) == (status, index)
