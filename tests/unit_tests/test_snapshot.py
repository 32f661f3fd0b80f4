"""What goes in: by git's rules in a repository, everything elsewhere, and never more than the limits."""

import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from langchain_sandbox.config import Limits
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK, Snapshot, take_snapshot


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet")
    return root


def commit(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / name).write_text(text)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "x")


def look(root: Path | None, limits: Limits | None = None) -> dict[str, tuple[int, bytes]]:
    snapshot = take_snapshot(root, limits or Limits())
    try:
        return {path: (entry.mode, snapshot.read(entry)) for path, entry in snapshot.entries.items()}
    finally:
        snapshot.close()


def take(root: Path | None) -> Snapshot:
    snapshot = take_snapshot(root, Limits())
    snapshot.close()
    return snapshot


def test_a_repository_goes_in_as_its_work_tree_is(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.log\nbuild/\n")
    commit(repository, tracked="1", modified="1", deleted="1", staged="1")
    (repository / "modified").write_text("2")
    (repository / "deleted").unlink()
    (repository / "untracked").write_text("new")
    (repository / "trace.log").write_text("secret")
    (repository / "build").mkdir()
    (repository / "build/out").write_text("secret")
    (repository / "staged").write_text("2")
    git(repository, "add", "staged")
    (repository / "staged").write_text("3")
    expected = {"tracked": b"1", "modified": b"2", "untracked": b"new", "staged": b"3"}
    assert look(repository) == {
        ".gitignore": (FILE, b"*.log\nbuild/\n"),
        **{name: (FILE, text) for name, text in expected.items()},
    }


def test_a_tracked_file_goes_in_even_where_it_is_ignored(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.log\n")
    (repository / "kept.log").write_text("1")
    git(repository, "add", "--force", "kept.log")
    assert "kept.log" in look(repository)


def test_modes_and_links_go_in_as_git_sees_them(repository: Path) -> None:
    (repository / "run").write_text("#!/bin/sh\n")
    (repository / "run").chmod(0o755)
    (repository / "link").symlink_to("run")
    (repository / "dangling").symlink_to("nowhere")
    (repository / "away").symlink_to("/etc")
    assert look(repository) == {
        "run": (EXECUTABLE, b"#!/bin/sh\n"),
        "link": (SYMLINK, b"run"),
        "dangling": (SYMLINK, b"nowhere"),
        "away": (SYMLINK, b"/etc"),
    }


ODD = [b"new\nline", b"tab\t", b"caf\xe9", b"\xff\xfe", "ü".encode(), b" a ", b"*?[x]", b'quo"te', b"d\\e", b"x" * 200]


@pytest.mark.parametrize("kind", ["repository", "folder"])
def test_names_of_any_bytes_go_in_and_gnu_tar_lists_the_same(repository: Path, tmp_path: Path, kind: str) -> None:
    root = repository if kind == "repository" else tmp_path / "plain"
    root.mkdir(exist_ok=True)
    for name in ODD:
        folder = os.fsencode(root) + b"/sub-" + name
        os.mkdir(folder)  # noqa: PTH102 - names of bytes
        os.symlink(b"target-" + name, folder + b"/link")  # noqa: PTH211 - as above
        with open(folder + b"/" + name, "wb") as file:  # noqa: PTH123 - as above
            file.write(name)
    snapshot = take_snapshot(root, Limits())
    archive = tmp_path / "archive.tar"
    snapshot.archive.seek(0)
    archive.write_bytes(snapshot.archive.read())
    command = ["tar", "--list", "--quoting-style=literal", "--show-transformed-names", "--null", "--file", str(archive)]
    listed = subprocess.run(command, check=True, capture_output=True).stdout
    expected = [os.fsencode(path) for path in snapshot.entries]
    assert listed == b"".join(name + b"\n" for name in expected)
    assert {b"sub-" + name + b"/" + name for name in ODD} | {b"sub-" + name + b"/link" for name in ODD} == set(expected)
    assert {snapshot.read(entry) for path, entry in snapshot.entries.items() if not path.endswith("/link")} == set(ODD)
    snapshot.close()


def test_the_archive_holds_what_the_index_says(repository: Path) -> None:
    commit(repository, empty="", short="x", block="y" * 512, long="z" * 2000)
    (repository / "short").chmod(0o700)
    snapshot = take_snapshot(repository, Limits())
    snapshot.archive.seek(0)
    with tarfile.open(fileobj=snapshot.archive) as archive:
        for path, entry in snapshot.entries.items():
            member = archive.getmember(path)
            assert (member.mode, member.size) == (entry.mode & 0o777, entry.size)
            assert archive.extractfile(member).read() == snapshot.read(entry)
        assert len(archive.getmembers()) == 4
    assert git(repository, "hash-object", "long").strip() == snapshot.entries["long"].blob
    snapshot.close()


@pytest.mark.parametrize("make", [lambda root: git(root, "init", "--quiet"), lambda _: None])
def test_an_empty_folder_and_an_empty_repository_go_in_as_nothing(tmp_path: Path, make: Callable) -> None:
    make(tmp_path)
    snapshot = take(tmp_path)
    assert (snapshot.entries, snapshot.repository, snapshot.digest) == ({}, False, take(None).digest)


def test_only_the_root_of_a_repository_with_a_commit_has_a_history(repository: Path, tmp_path: Path) -> None:
    (repository / "sub").mkdir()
    (repository / "sub/file").write_text("")
    assert not take(repository).repository
    commit(repository)
    assert take(repository).repository
    assert not take(repository / "sub").repository
    assert set(look(repository / "sub")) == {"file"}
    (tmp_path / "link").symlink_to(repository)
    assert take(tmp_path / "link").repository


def test_a_plain_folder_goes_in_whole_but_for_git_folders(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/.hidden").write_text("1")
    (tmp_path / ".gitignore").write_text("*")
    (tmp_path / "link").symlink_to("a")
    git(tmp_path / "a", "init", "--quiet", "inner")
    (tmp_path / "a/inner/file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    snapshot = take(tmp_path)
    assert set(snapshot.entries) == {"a/b/.hidden", ".gitignore", "link", "a/inner/file"}
    assert snapshot.skipped == ["pipe: neither a file nor a link"]


def test_a_repository_inside_the_repository_stays_out_and_is_named(repository: Path) -> None:
    git(repository, "init", "--quiet", "inner")
    commit(repository / "inner", file="1")
    commit(repository, file="1")
    snapshot = take(repository)
    assert set(snapshot.entries) == {"file"}
    assert snapshot.skipped == ["inner: a repository inside the repository"]


def test_what_would_configure_opencode_stays_out_and_is_named(repository: Path) -> None:
    (repository / ".opencode/plugin").mkdir(parents=True)
    (repository / ".opencode/plugin/x.js").write_text("")
    (repository / ".opencode/notes.md").write_text("")
    commit(repository, **{"opencode.json": "{}", "AGENTS.md": "be good"})
    snapshot = take(repository)
    assert set(snapshot.entries) == {".opencode/notes.md", "AGENTS.md"}
    reason = "would configure OpenCode itself"
    assert snapshot.skipped == [f".opencode/plugin/x.js: {reason}", f"opencode.json: {reason}"]


def test_the_digest_changes_with_content_mode_and_path_and_with_nothing_else(repository: Path) -> None:
    file = repository / "file"
    file.write_text("1")
    digests = [take(repository).digest]
    os.utime(file, (1, 1))
    file.chmod(0o600)
    commit(repository)
    assert take(repository).digest == digests[0]
    file.write_text("2")
    digests.append(take(repository).digest)
    file.chmod(0o700)
    digests.append(take(repository).digest)
    file.rename(repository / "renamed")
    digests.append(take(repository).digest)
    (repository / "renamed").unlink()
    (repository / "renamed").symlink_to("2")
    digests.append(take(repository).digest)
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("limits", [Limits(workspace=20_000), Limits(workspace_files=5)])
def test_too_much_is_refused_and_the_biggest_are_named(repository: Path, limits: Limits) -> None:
    (repository / "big").write_bytes(bytes(9000))
    for number in range(30):
        (repository / f"small{number}").write_text("x")
    with pytest.raises(SandboxConfigError, match=r"big \(9000 bytes\)") as caught:
        take_snapshot(repository, limits)
    assert "Limits.workspace" in str(caught.value)


def test_one_file_that_is_too_big_is_named_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(SandboxConfigError, match="huge"):
        take_snapshot(tmp_path, Limits())


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "locked").write_text("")
    (tmp_path / "locked").chmod(0)
    with pytest.raises(SandboxConfigError, match="locked"):
        take_snapshot(tmp_path, Limits())


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxConfigError, match=name):
        take_snapshot(tmp_path / name, Limits())


def test_looking_writes_nothing_and_runs_nothing_of_the_repositorys(repository: Path, tmp_path: Path) -> None:
    commit(repository, file="1")
    git(repository, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false")
    index = (repository / ".git/index").read_bytes()
    os.utime(repository / "file", (1, 1))
    take(repository)
    assert (repository / ".git/index").read_bytes() == index
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def tracked(repository: Path) -> Path:
    """A repository whose folder `a` with the tracked file `a/b` is gone, so that something else may be there."""
    (repository / "a").mkdir()
    commit(repository, **{"a/b": "old\n"})
    (repository / "a/b").unlink()
    (repository / "a").rmdir()
    return repository


def test_a_folder_that_became_a_link_is_not_read_through(tracked: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/b").write_text("the host's secret")
    (tracked / "a").symlink_to(tmp_path / "outside")
    assert look(tracked) == {"a": (SYMLINK, os.fsencode(tmp_path / "outside"))}


def test_a_folder_that_became_a_file_goes_in_as_the_file(tracked: Path) -> None:
    (tracked / "a").write_text("x")
    assert look(tracked) == {"a": (FILE, b"x")}


@pytest.fixture
def guarded(repository: Path) -> Path:
    """A repository that ignores a secret."""
    commit(repository, **{".gitignore": ".env\n"})
    (repository / ".env").write_text("SECRET")
    return repository


def test_a_repository_that_git_cannot_read_is_refused_and_not_taken_whole(guarded: Path) -> None:
    (guarded / ".git/config").write_text("[oops\n")
    with pytest.raises(SandboxConfigError, match="git cannot read"):
        take_snapshot(guarded, Limits())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_somebody_else_is_refused_and_not_taken_whole(
    guarded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no `safe.directory` there
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for path in (guarded, guarded / ".git"):
        os.chown(path, 4321, 4321)
    with pytest.raises(SandboxConfigError, match="dubious ownership"):
        take_snapshot(guarded, Limits())


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_worktree_without_its_repository_is_refused_and_not_taken_whole(guarded: Path, kind: str) -> None:
    """A worktree or a submodule that is mounted alone, as the compose file mounts a workspace."""
    (guarded / ".git").rename(guarded / "gone")
    if kind == "file":
        (guarded / ".git").write_text("gitdir: /gone/worktrees/guarded\n")
    else:
        (guarded / ".git").symlink_to("/gone/.git")
    with pytest.raises(SandboxConfigError, match="leads to another folder"):
        take_snapshot(guarded, Limits())


def test_an_empty_git_folder_makes_no_repository(tmp_path: Path) -> None:
    """Docker makes one where it mounts a .git that is not there."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "file").write_text("1")
    assert look(tmp_path) == {"file": (FILE, b"1")}


@pytest.mark.parametrize("kind", ["repository", "folder"])
@pytest.mark.parametrize("target", ["./x/", "x//y", ".", "./", "/", "../x/."])
def test_a_links_target_is_kept_as_it_is(repository: Path, tmp_path: Path, kind: str, target: str) -> None:
    root = repository if kind == "repository" else tmp_path / "plain"
    root.mkdir(exist_ok=True)
    (root / "link").symlink_to(target)
    assert look(root) == {"link": (SYMLINK, target.encode())}
