"""The user's tree is changed whole or not at all; that the right changes are made is shown in `test_patch`."""

import os
import subprocess
from pathlib import Path

import pytest

from langchain_sandbox.config import Limits
from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.applying.apply import apply_patch
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK, take_snapshot
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.outbound.patch import build_patch

CHANGES = [
    Change("added/deep/file", FILE, b"new\n"),
    Change("modified", FILE, b"new\n"),
    Change("deleted/only", None),
    Change("zzz", SYMLINK, b"modified"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "deleted").mkdir(parents=True)
    (folder / "deleted/only").write_text("old\n")
    (folder / "modified").write_text("old\n")
    (folder / "script").write_text("#!/bin/sh\n")
    return folder


def prepare(root: Path, *changes: Change) -> tuple[str, str]:
    """The patch that makes some changes, and the digest of the tree that it is for."""
    snapshot = take_snapshot(root, Limits())
    text = build_patch(snapshot, list(changes)).text
    snapshot.close()
    return text, snapshot.digest


def look(root: Path) -> dict[str, tuple[int, str]]:
    return {
        path.relative_to(root).as_posix(): (
            path.lstat().st_mode,
            str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else "",
        )
        for path in root.rglob("*")
    }


def test_all_kinds_of_changes_are_made_and_named(root: Path) -> None:
    text, digest = prepare(root, *CHANGES)
    assert apply_patch(root, text, digest=digest, limits=Limits()) == [
        "added/deep/file",
        "deleted/only",
        "modified",
        "zzz",
    ]
    assert {path: content for path, (_, content) in look(root).items()} == {
        "added": "",
        "added/deep": "",
        "added/deep/file": "new\n",
        "modified": "new\n",
        "script": "#!/bin/sh\n",
        "zzz": "modified",
    }


def test_an_empty_patch_does_not_even_look(tmp_path: Path) -> None:
    assert apply_patch(tmp_path / "missing", "", digest="", limits=Limits()) == []


@pytest.mark.parametrize("meanwhile", ["edited", "added", "deleted", "mode"])
def test_a_tree_that_moved_on_is_left_exactly_as_it_is(root: Path, meanwhile: str) -> None:
    text, digest = prepare(root, *CHANGES)
    match meanwhile:
        case "edited":
            (root / "script").write_text("the user's own\n")
        case "added":
            (root / "own").write_text("the user's own\n")
        case "deleted":
            (root / "script").unlink()
        case "mode":
            (root / "script").chmod(0o755)
    before = look(root)
    with pytest.raises(SandboxApplyError, match="not as it was"):
        apply_patch(root, text, digest=digest, limits=Limits())
    assert look(root) == before


def test_applying_twice_is_refused_the_second_time(root: Path) -> None:
    text, digest = prepare(root, *CHANGES)
    apply_patch(root, text, digest=digest, limits=Limits())
    after = look(root)
    with pytest.raises(SandboxApplyError, match="not as it was"):
        apply_patch(root, text, digest=digest, limits=Limits())
    assert look(root) == after


@pytest.mark.parametrize("fails_at", range(len(CHANGES)))
def test_a_write_that_fails_puts_everything_back(root: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    text, digest = prepare(root, *CHANGES)
    before = look(root)
    calls = 0

    def run_out(function: str) -> None:
        original = getattr(Path, function)

        def fail_once(self: Path, *arguments: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == fails_at + 1:
                raise OSError(28, "No space left on device", str(self))
            return original(self, *arguments, **named)

        monkeypatch.setattr(Path, function, fail_once)

    # Each change ends in exactly one of these.
    run_out("replace")
    run_out("unlink")
    with pytest.raises(SandboxApplyError, match=r"No space left on device.*put back"):
        apply_patch(root, text, digest=digest, limits=Limits())
    assert calls > fails_at
    assert look(root) == before


def test_nothing_is_left_of_temporary_files(root: Path) -> None:
    text, digest = prepare(root, *CHANGES)
    apply_patch(root, text, digest=digest, limits=Limits())
    assert not list(root.rglob("*.langchain-sandbox"))


@pytest.mark.parametrize("text", ["nonsense", "diff --git a/x b/x\n", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-1\n+2\n"])
def test_a_text_that_is_no_patch_for_this_tree_is_refused(root: Path, text: str) -> None:
    _, digest = prepare(root)
    before = look(root)
    with pytest.raises(SandboxApplyError, match="does not apply"):
        apply_patch(root, text, digest=digest, limits=Limits())
    assert look(root) == before


@pytest.mark.parametrize(
    "path",
    ["../outside", "a/../../outside", "/tmp/outside", ".git/config", ".GIT/config", "a/.git/hooks/x", "git~1/x"],
)
def test_a_patch_that_leads_out_of_the_tree_is_refused(root: Path, path: str) -> None:
    _, digest = prepare(root)
    text = f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
    before = look(root)
    with pytest.raises(SandboxApplyError):
        apply_patch(root, text, digest=digest, limits=Limits())
    assert look(root) == before
    assert not (root.parent / "outside").exists()


def test_who_could_read_a_file_still_can_and_nobody_else(root: Path) -> None:
    (root / "modified").chmod(0o600)
    (root / "script").chmod(0o750)
    text, digest = prepare(root, Change("modified", EXECUTABLE, b"x"), Change("script", FILE, b"y"))
    apply_patch(root, text, digest=digest, limits=Limits())
    assert (root / "modified").stat().st_mode & 0o777 == 0o700
    assert (root / "script").stat().st_mode & 0o777 == 0o640


def test_a_new_file_gets_what_the_umask_gives(root: Path) -> None:
    text, digest = prepare(root, Change("plain", FILE, b""), Change("run", EXECUTABLE, b""))
    before = os.umask(0o027)
    try:
        apply_patch(root, text, digest=digest, limits=Limits())
    finally:
        os.umask(before)
    assert (root / "plain").stat().st_mode & 0o777 == 0o640
    assert (root / "run").stat().st_mode & 0o777 == 0o750


def test_a_link_is_replaced_and_what_it_leads_to_is_not_touched(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine\n")
    (root / "link").symlink_to(outside)
    text, digest = prepare(root, Change("link", FILE, b"theirs\n"))
    apply_patch(root, text, digest=digest, limits=Limits())
    assert (outside.read_text(), (root / "link").read_text()) == ("mine\n", "theirs\n")
    assert not (root / "link").is_symlink()


def test_line_ends_are_kept_whatever_the_repositorys_attributes_say(root: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    (root / ".gitattributes").write_text("* text eol=crlf\n")
    text, digest = prepare(root, Change("modified", FILE, b"1\n2\r\n"))
    apply_patch(root, text, digest=digest, limits=Limits())
    assert (root / "modified").read_bytes() == b"1\n2\r\n"


@pytest.fixture
def repository(root: Path) -> Path:
    """The same folder as a repository that ignores what may be the only copy."""
    (root / ".gitignore").write_text(".env\nbuild\n")
    (root / ".env").write_text("SECRET")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return root


def test_a_file_that_git_ignores_is_not_overwritten(repository: Path) -> None:
    text, digest = prepare(repository, Change(".env", FILE, b"theirs"))
    with pytest.raises(SandboxApplyError, match=r"'\.env'.*ignored by git"):
        apply_patch(repository, text, digest=digest, limits=Limits())
    assert (repository / ".env").read_text() == "SECRET"


def test_an_ignored_folder_in_the_way_puts_everything_back(repository: Path) -> None:
    (repository / "build").mkdir()
    (repository / "build/out").write_text("")
    text, digest = prepare(repository, *CHANGES, Change("build", FILE, b"x\n"))
    before = look(repository)
    with pytest.raises(SandboxApplyError, match=r"build.*put back"):
        apply_patch(repository, text, digest=digest, limits=Limits())
    assert look(repository) == before


@pytest.mark.parametrize("ignored", ["link", "file"])
def test_what_git_ignores_is_not_followed_where_a_folder_should_be(
    repository: Path, tmp_path: Path, ignored: str
) -> None:
    (tmp_path / "outside").mkdir()
    if ignored == "link":
        (repository / "build").symlink_to(tmp_path / "outside")
    else:
        (repository / "build").write_text("mine\n")
    text, digest = prepare(repository, *CHANGES, Change("build/x", FILE, b"theirs\n"))
    before = look(repository)
    with pytest.raises(SandboxApplyError, match=r"build/x.*put back"):
        apply_patch(repository, text, digest=digest, limits=Limits())
    assert look(repository) == before
    assert not list((tmp_path / "outside").iterdir())
