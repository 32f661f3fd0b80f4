"""A patch is right if git, knowing nothing of us, makes the new tree out of the old one with it, and so do we."""

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from runs import Run
from trees import Tree, patch_between, put_down, read, trees

from langchain_sandbox.config import Limits
from langchain_sandbox.result import FileChange
from langchain_sandbox.workspace.content import blob_name
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK, take_snapshot
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.outbound.patch import Patch, build_patch
from langchain_sandbox.workspace.outbound.patch_header import parse_patch


def apply_with_git(root: Path, text: str) -> None:
    subprocess.run(["git", "apply", "--whitespace=nowarn"], cwd=root, input=text.encode(), check=True)


def apply_with_ours(root: Path, text: str) -> None:
    Run(root, text.encode()).apply(risky="allow")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees())
@example(({"with space": (FILE, b"")}, {"with space": (EXECUTABLE, b"")}))
@example(({"a": (FILE, b"1\n2\n3\n")}, {"new\nline/ü": (FILE, b"1\n2\n3\n")}))
@example(({"a": (SYMLINK, b"x")}, {"a/b": (FILE, b"x\n")}))
@example(({"a": (SYMLINK, b"./x/")}, {"a": (SYMLINK, b"/x//.")}))
@example(({"now": (SYMLINK, b"v1")}, {"before": (SYMLINK, b"v1"), "now/x": (FILE, b"1\n")}))
@example(({"a": (FILE, b""), "b": (SYMLINK, b"0")}, {"a": (EXECUTABLE, b""), "b": (FILE, b"0")}))
@example(({"a": (FILE, b"x")}, {"a/b": (FILE, b"x")}))
@example(({"a/b": (FILE, b"x")}, {"a": (SYMLINK, b"b")}))
def test_git_and_we_make_exactly_the_new_tree_of_the_old(both: tuple[Tree, Tree]) -> None:
    old, new = both
    with tempfile.TemporaryDirectory() as name:
        ours, gits = Path(name) / "ours", Path(name) / "gits"
        ours.mkdir()
        patch = patch_between(ours, old, new)
        assert read(ours) == old
        assert bool(patch.text) == (old != new) == bool(patch.files)
        patch.text.encode("utf-8")
        shutil.copytree(ours, gits, symlinks=True)
        if patch.text:
            apply_with_git(gits, patch.text)
        apply_with_ours(ours, patch.text)
        assert read(gits) == read(ours) == new
        for file in patch.files:
            FileChange(**asdict(file)).model_dump_json()


@pytest.mark.parametrize("new", [{"b": (FILE, b"1\n")}, {"a": (EXECUTABLE, b"1\n")}, {"b": (EXECUTABLE, b"1\n")}])
@pytest.mark.parametrize("more", [{}, {"z": (FILE, b"diff --git a/x b/x\nindex 1..2\n")}])
def test_a_content_that_stays_is_named_all_the_same(tmp_path: Path, new: Tree, more: Tree) -> None:
    patch = patch_between(tmp_path, {"a": (FILE, b"1\n")}, new | more)
    file = parse_patch(io.StringIO(patch.text))[0]
    assert file.blob == file.old_blob == blob_name(b"1\n")
    assert (file.old_mode, file.mode) == (FILE, next(iter(new.values()))[0])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {"a": (FILE, b"1\n2\n")}, ("a", "added", None, None, 4, "100644", 2, 0, False)),
        ({"a": (FILE, b"1\n")}, {}, ("a", "deleted", None, 2, None, None, 0, 1, False)),
        ({"a": (FILE, b"1\n")}, {"a": (FILE, b"2\n")}, ("a", "modified", None, 2, 2, "100644", 1, 1, False)),
        ({"a": (FILE, b"1\n")}, {"a": (EXECUTABLE, b"1\n")}, ("a", "modified", None, 2, 2, "100755", 0, 0, False)),
        ({"a": (FILE, b"1\n")}, {"b c": (FILE, b"1\n")}, ("b c", "renamed", "a", 2, 2, "100644", 0, 0, False)),
        ({"a": (FILE, b"1\n")}, {"a": (SYMLINK, b"x")}, ("a", "modified", None, 2, 1, "120000", 1, 1, False)),
        ({}, {"a": (FILE, b"\xff\n")}, ("a", "added", None, None, 2, "100644", 0, 0, True)),
        ({"caf\udce9": (FILE, b"1\n")}, {}, ("caf\\xe9", "deleted", None, 2, None, None, 0, 1, False)),
        ({}, {"new\nline\t": (FILE, b"1")}, ("new\nline\t", "added", None, None, 1, "100644", 1, 0, False)),
    ],
)
def test_what_is_told_of_a_file_is_what_happened_to_it(tmp_path: Path, old: Tree, new: Tree, expected: tuple) -> None:
    [file] = patch_between(tmp_path, old, new).files
    told = (file.path, file.kind, file.old_path, file.old_size, file.size, file.mode)
    assert (*told, file.insertions, file.deletions, file.binary) == expected


@pytest.mark.parametrize("apply", [apply_with_git, apply_with_ours])
def test_a_file_that_is_not_utf_8_goes_as_binary_among_others_that_stay_readable(
    tmp_path: Path, apply: Callable[[Path, str], None]
) -> None:
    old = {"a.txt": (FILE, b"one\n"), "[b]*.txt": (FILE, b"caf\xe9\n")}
    new = {"a.txt": (FILE, b"two\n"), "[b]*.txt": (FILE, b"th\xe9\n")}
    patch = patch_between(tmp_path, old, new)
    assert {file.path: file.binary for file in patch.files} == {"a.txt": False, "[b]*.txt": True}
    assert "-one\n+two\n" in patch.text
    apply(tmp_path, patch.text)
    assert read(tmp_path) == new


@pytest.mark.parametrize("apply", [apply_with_git, apply_with_ours])
def test_a_file_that_is_not_utf_8_goes_as_binary_however_long_its_path_is(
    tmp_path: Path, apply: Callable[[Path, str], None]
) -> None:
    new = {"/".join(["x" * 250] * 12): (FILE, b"\xff"), "short": (FILE, b"1\n")}
    patch = patch_between(tmp_path, {}, new)
    assert patch.files[-1].binary
    apply(tmp_path, patch.text)
    assert read(tmp_path) == new


def test_the_users_own_git_settings_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = {"a b": (FILE, b"1\r\n2 \n")}, {"c": (FILE, b"1\r\n2 \n"), "d": (FILE, b" x\n")}
    plain = patch_between(tmp_path, old, new).text
    home = tmp_path / "home"
    home.mkdir()
    (home / "attributes").write_text("* text eol=crlf diff=shout\n")
    (home / ".gitconfig").write_text(
        "[color]\n\tui = always\n[diff]\n\tnoprefix = true\n\trenames = false\n\tcontext = 0\n\texternal = false\n"
        f"[core]\n\tautocrlf = true\n\tquotePath = false\n\tattributesFile = {home}/attributes\n"
        '[diff "shout"]\n\ttextconv = tr a-z A-Z\n[apply]\n\twhitespace = error\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    root = tmp_path / "again"
    root.mkdir()
    assert patch_between(root, old, new).text == plain
    apply_with_ours(root, plain)
    assert read(root) == new


@pytest.mark.parametrize(
    ("place", "content"),
    [
        (".gitconfig", "[core]\n\tbigFileThreshold = 1\n"),
        (".config/git/attributes", "* -diff\n"),
    ],
)
def test_a_home_that_the_agent_has_written_to_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, content: str
) -> None:
    """As in the compose file's container, where PID 1 has the same home as OpenCode."""
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text(content)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    root = tmp_path / "root"
    root.mkdir()
    patch = patch_between(root, {"a": (FILE, b"1\n")}, {"a": (FILE, b"2\n")})
    assert "-1\n+2\n" in patch.text
    apply_with_ours(root, patch.text)
    assert read(root) == {"a": (FILE, b"2\n")}


def test_no_changes_are_an_empty_patch(tmp_path: Path) -> None:
    assert patch_between(tmp_path, {"a": (FILE, b"")}, {"a": (FILE, b"")}) == Patch()


def test_the_old_side_is_what_went_in_whatever_the_user_does_meanwhile(tmp_path: Path) -> None:
    put_down(tmp_path, {"a": (FILE, b"old\n")})
    snapshot = take_snapshot(tmp_path, Limits())
    (tmp_path / "a").write_text("the user's\n")
    text = build_patch(snapshot, [Change("a", FILE, b"new\n")]).text
    snapshot.close()
    assert "-old\n+new\n" in text
