"""The user's tree is changed whole or not at all; that the right changes are made is shown in `test_patch`."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from runs import freeze, git, init, run_on
from trees import read

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.applying import tree as tree_module
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.paths import STAGING

CHANGES = [
    Change("added/deep/file", FILE, b"new\n"),
    Change("modified", FILE, b"new\n"),
    Change("deleted/only", None),
    Change("zzz", SYMLINK, b"modified"),
]
PATHS = ["added/deep/file", "deleted/only", "modified", "zzz"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "deleted").mkdir(parents=True)
    (folder / "deleted/only").write_text("old\n")
    (folder / "modified").write_text("old\n")
    (folder / "script").write_text("#!/bin/sh\n")
    return folder


def test_all_kinds_of_changes_are_made_and_named(root: Path) -> None:
    report = run_on(root, *CHANGES).apply()
    assert (report.paths, report.merged, report.forwarded, report.branch) == (PATHS, [], None, None)
    assert read(root) == {
        "added/deep/file": (FILE, b"new\n"),
        "modified": (FILE, b"new\n"),
        "script": (FILE, b"#!/bin/sh\n"),
        "zzz": (SYMLINK, b"modified"),
    }
    assert not (root / "deleted").exists()


def test_an_empty_patch_changes_nothing_and_leaves_no_record(root: Path) -> None:
    run = run_on(root)
    before = freeze(root)
    assert run.apply().paths == []
    assert freeze(root) == before
    assert run.record is not None
    assert not run.record.exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, root: Path) -> None:
    run = run_on(root, *CHANGES)
    run.root = tmp_path / "missing"
    with pytest.raises(SandboxApplyError, match="missing cannot be opened"):
        run.apply()
    assert not run.root.exists()


@pytest.mark.parametrize("meanwhile", ["edited", "added", "deleted", "mode"])
def test_what_the_user_does_elsewhere_meanwhile_stays_as_it_is(root: Path, meanwhile: str) -> None:
    run = run_on(root, *CHANGES)
    match meanwhile:
        case "edited":
            (root / "script").write_text("the user's own\n")
        case "added":
            (root / "own").write_text("the user's own\n")
        case "deleted":
            (root / "script").unlink()
        case "mode":
            (root / "script").chmod(0o755)
    elsewhere = {path: state for path, state in freeze(root).items() if path in {"script", "own"}}
    assert run.apply().paths == PATHS
    assert {path: state for path, state in freeze(root).items() if path in {"script", "own"}} == elsewhere


def test_applying_twice_changes_nothing_the_second_time(root: Path) -> None:
    run = run_on(root, *CHANGES)
    run.apply()
    after = freeze(root)
    assert run.apply().paths == []
    assert freeze(root) == after


def test_a_disk_that_is_full_at_any_kind_of_step_leaves_the_tree_as_it_was(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_on(root, *CHANGES)
    before, steps = freeze(root), list[str]()
    shutil.copytree(root, tmp_path / "copy")
    run.root = tmp_path / "copy"
    monkeypatch.setattr(tree_module, "_step", steps.append)
    run.apply()
    run.root = root
    done = next(at for at, name in enumerate(steps) if name.endswith("done.json"))
    last = {name.partition(" ")[0]: at for at, name in enumerate(steps[: done + 1])}
    assert last.keys() >= {"mkdir", "create", "write", "chmod", "symlink", "link", "rename"}
    for number in last.values():
        taken: list[str] = []

        def run_out(name: str, *, taken: list[str] = taken, number: int = number) -> None:
            taken.append(name)
            if len(taken) == number + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(tree_module, "_step", run_out)
        with pytest.raises(SandboxApplyError, match="No space left on device"):
            run.apply()
        assert freeze(root) == before, steps[number]


def test_nothing_is_left_of_temporary_files(root: Path) -> None:
    run_on(root, *CHANGES).apply()
    assert not (root / STAGING).exists()
    assert sorted(path.name for path in root.iterdir()) == ["added", "modified", "script", "zzz"]


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "diff --git a/x b/x\n",
        "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-1\n+2\n",
        "diff --git a/modified b/modified\nindex {0}..{1} 100644\n--- a/modified\n+++ b/modified\n@@ -1 +1 @@\n-x\n+y",
    ],
)
def test_a_text_that_is_no_patch_for_this_tree_is_refused(root: Path, text: str) -> None:
    run = run_on(root)
    old = git(root, "hash-object", "modified").strip()
    run.patch = text.format(old, old[::-1]).encode()
    before = freeze(root)
    with pytest.raises(SandboxApplyError, match="cannot be applied"):
        run.apply()
    assert freeze(root) == before


def test_a_patch_that_is_no_text_is_refused(root: Path) -> None:
    run = run_on(root, *CHANGES)
    run.patch = run.patch.replace(b"+new", b"+\xff")
    run.patch += b"diff --git a/\xff b/\xff\n"
    before = freeze(root)
    with pytest.raises(SandboxApplyError, match="cannot be applied"):
        run.apply()
    assert freeze(root) == before


@pytest.mark.parametrize(
    "path",
    [
        *("../outside", "a/../../outside", "/tmp/outside", ".git/config", ".GIT/config", "a/.git/hooks/x", "git~1/x"),
        *(f"{STAGING}/new/0", f"{STAGING.upper()}/x", "a//b", "./a", f"{'x' * 256}"),
    ],
)
def test_a_patch_that_leads_out_of_the_tree_is_refused(root: Path, path: str) -> None:
    run = run_on(root)
    blob = git(root, "hash-object", "--stdin", stdin=b"x\n").strip()
    head = f"new file mode 100644\nindex {'0' * 40}..{blob}"
    run.patch = f"diff --git a/{path} b/{path}\n{head}\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n".encode()
    before = freeze(root)
    with pytest.raises(SandboxApplyError, match="The patch changes"):
        run.apply(risky="allow")
    assert freeze(root) == before
    assert not (root.parent / "outside").exists()


def test_a_patch_whose_headers_say_other_than_its_hunks_is_refused(root: Path) -> None:
    run = run_on(root, Change("modified", FILE, b"new\n"))
    assert b"+new\n" in run.patch
    run.patch = run.patch.replace(b"+new\n", b"+bad\n")
    before = freeze(root)
    with pytest.raises(SandboxApplyError, match=r"does to 'modified' what its headers do not say"):
        run.apply()
    assert freeze(root) == before


def test_who_could_read_a_file_still_can_and_nobody_else(root: Path) -> None:
    (root / "modified").chmod(0o600)
    (root / "script").chmod(0o750)
    run_on(root, Change("modified", EXECUTABLE, b"x"), Change("script", FILE, b"y")).apply()
    assert (root / "modified").stat().st_mode & 0o777 == 0o700
    assert (root / "script").stat().st_mode & 0o777 == 0o640


def test_a_new_file_gets_what_the_umask_gives(root: Path) -> None:
    run = run_on(root, Change("plain", FILE, b""), Change("run", EXECUTABLE, b""))
    before = os.umask(0o027)
    try:
        run.apply()
    finally:
        os.umask(before)
    assert (root / "plain").stat().st_mode & 0o777 == 0o640
    assert (root / "run").stat().st_mode & 0o777 == 0o750


def test_a_link_is_replaced_and_what_it_leads_to_is_not_touched(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine\n")
    (root / "link").symlink_to(outside)
    run_on(root, Change("link", FILE, b"theirs\n")).apply()
    assert (outside.read_text(), (root / "link").read_text()) == ("mine\n", "theirs\n")
    assert not (root / "link").is_symlink()


def test_line_ends_are_kept_whatever_the_repositorys_attributes_say(root: Path) -> None:
    (root / ".gitattributes").write_text("* text eol=crlf\n")
    init(root)
    run_on(root, Change("modified", FILE, b"1\n2\r\n")).apply()
    assert (root / "modified").read_bytes() == b"1\n2\r\n"


@pytest.fixture
def repository(root: Path) -> Path:
    """The same folder as a repository that ignores what may be the only copy."""
    (root / ".gitignore").write_text(".env\nbuild\n")
    (root / ".env").write_text("SECRET")
    git(root, "init", "--quiet", "--template=")
    return root


def test_a_file_that_git_ignores_is_not_overwritten(repository: Path) -> None:
    run = run_on(repository, Change(".env", FILE, b"theirs"))
    before = freeze(repository)
    with pytest.raises(SandboxApplyError, match=r"\.env: there already"):
        run.apply()
    assert freeze(repository) == before


def test_an_ignored_folder_in_the_way_is_named_and_stays(repository: Path) -> None:
    (repository / "build").mkdir()
    (repository / "build/out").write_text("")
    run = run_on(repository, *CHANGES, Change("build", FILE, b"x\n"))
    before = freeze(repository)
    with pytest.raises(SandboxApplyError, match=r"build.*nothing was changed"):
        run.apply()
    assert freeze(repository) == before


@pytest.mark.parametrize("ignored", ["link", "file"])
def test_what_git_ignores_is_not_followed_where_a_folder_should_be(
    repository: Path, tmp_path: Path, ignored: str
) -> None:
    (tmp_path / "outside").mkdir()
    if ignored == "link":
        (repository / "build").symlink_to(tmp_path / "outside")
    else:
        (repository / "build").write_text("mine\n")
    run = run_on(repository, *CHANGES, Change("build/x", FILE, b"theirs\n"))
    before = freeze(repository)
    with pytest.raises(SandboxApplyError, match=r"build/x.*no folder.*nothing was changed"):
        run.apply()
    assert freeze(repository) == before
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize(
    ("change", "meaning"),
    [
        (Change(".github/workflows/ci.yml", FILE, b"on: push\n"), "runs on your CI servers"),
        (Change(".envrc", FILE, b"x\n"), "is obeyed by your shell"),
        (Change("out", SYMLINK, b"../../etc/passwd"), "leads out of the tree"),
        (Change(".vscode/tasks.json", FILE, b"{}\n"), "configures your editor"),
        (Change(".pre-commit-config.yaml", None), "runs when you commit"),
    ],
)
def test_what_reaches_further_than_the_project_is_refused_with_its_name_and_why_until_it_is_allowed(
    root: Path, change: Change, meaning: str
) -> None:
    (root / ".pre-commit-config.yaml").write_text("repos: []\n")
    run = run_on(root, *CHANGES, change)
    before = freeze(root)
    with pytest.raises(SandboxApplyError, match=meaning) as refusal:
        run.apply()
    assert change.path in str(refusal.value)
    assert 'risky="allow"' in str(refusal.value)
    assert "modified" not in str(refusal.value)
    assert freeze(root) == before
    assert change.path in run.apply(risky="allow").paths
    assert run.apply().paths == []


def test_a_risky_file_that_is_moved_away_is_refused_by_its_old_name(root: Path) -> None:
    (root / ".envrc").write_text("export A=1\n")
    run = run_on(root, Change(".envrc", None), Change("plain", FILE, b"export A=1\n"))
    with pytest.raises(SandboxApplyError, match="is obeyed by your shell"):
        run.apply()
    assert (root / ".envrc").exists()


def test_a_path_through_a_link_of_the_users_is_not_followed(root: Path, tmp_path: Path) -> None:
    run = run_on(root, *CHANGES)
    (tmp_path / "outside").mkdir()
    (root / "added").symlink_to(tmp_path / "outside")
    before = freeze(root)
    with pytest.raises(SandboxApplyError, match=r"added/deep/file"):
        run.apply()
    assert freeze(root) == before
    assert not list((tmp_path / "outside").iterdir())
