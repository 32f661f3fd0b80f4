"""What the files are is kept as it was: in one archive that any tar reads, and in an index of it."""

import io
import os
import shutil
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from repositories import commit, git, init, write

from langchain_sandbox.config import Limits
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.workspace.content import Content, pieces
from langchain_sandbox.workspace.inbound.archive import BLOCK, FILE_TYPE, LINK_TYPE, build_header
from langchain_sandbox.workspace.inbound.selection import select_files
from langchain_sandbox.workspace.inbound.snapshot import (
    EXECUTABLE,
    FILE,
    SYMLINK,
    Snapshot,
    fill_snapshot,
    take_snapshot,
)
from langchain_sandbox.workspace_config import Workspace


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return init(tmp_path / "repository")


def whole(content: Content) -> bytes:
    return b"".join(pieces(content))


def look(root: Path | None) -> dict[str, tuple[int, bytes]]:
    snapshot = take_snapshot(root, Limits())
    try:
        return {path: (entry.mode, whole(snapshot.read(entry))) for path, entry in snapshot.entries.items()}
    finally:
        snapshot.close()


def take(root: Path | None) -> Snapshot:
    snapshot = take_snapshot(root, Limits())
    snapshot.close()
    return snapshot


def unpack(snapshot: Snapshot, folder: Path) -> Path:
    """The archive as GNU tar takes it apart, which is what the container does."""
    folder.mkdir()
    snapshot.archive.seek(0)
    command = ["tar", "--extract", "--preserve-permissions", "--no-same-owner", "--file=-"]
    subprocess.run(command, cwd=folder, input=snapshot.archive.read(), check=True)
    return folder


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
    assert {
        whole(snapshot.read(entry)) for path, entry in snapshot.entries.items() if not path.endswith("/link")
    } == set(ODD)
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
            assert archive.extractfile(member).read() == whole(snapshot.read(entry))
        assert len(archive.getmembers()) == 4
    assert git(repository, "hash-object", "long").strip() == snapshot.entries["long"].blob
    snapshot.close()


@pytest.mark.parametrize("make", [lambda root: git(root, "init", "--quiet"), lambda _: None])
def test_an_empty_folder_and_an_empty_repository_go_in_as_nothing(tmp_path: Path, make: Callable) -> None:
    make(tmp_path)
    snapshot = take(tmp_path)
    assert (snapshot.entries, snapshot.digest) == ({}, take(None).digest)


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "locked").write_text("")
    (tmp_path / "locked").chmod(0)
    with pytest.raises(SandboxConfigError, match="locked"):
        take_snapshot(tmp_path, Limits())


@pytest.mark.parametrize("kind", ["repository", "folder"])
@pytest.mark.parametrize("target", ["./x/", "x//y", ".", "./", "/", "../x/."])
def test_a_links_target_is_kept_as_it_is(repository: Path, tmp_path: Path, kind: str, target: str) -> None:
    root = repository if kind == "repository" else tmp_path / "plain"
    root.mkdir(exist_ok=True)
    (root / "link").symlink_to(target)
    assert look(root) == {"link": (SYMLINK, target.encode())}


names = st.binary(min_size=1, max_size=300).map(lambda name: name.replace(b"\0", b"x"))


@settings(max_examples=50)
@given(name=names, size=st.integers(0, 2**40), mtime=st.integers(-(2**40), 2**50))
@example(name=b"x" * 99, size=0, mtime=8**11 - 1)
@example(name=b"x" * 100, size=0, mtime=8**11)
@example(name=b"x" * 511, size=8**11 - 1, mtime=0)
@example(name=b"x" * 512, size=8**11, mtime=0)
def test_a_files_header_says_what_tarfile_reads_in_it(name: bytes, size: int, mtime: int) -> None:
    read = read_header(build_header(name, mtime=mtime, kind=FILE_TYPE, size=size, mode=0o755))
    assert (os.fsencode(read.name), read.mtime) == (name, max(0, min(mtime, 8**11 - 1)))
    assert (read.uid, read.gid, read.uname, read.gname) == (0, 0, "", "")
    assert (read.isreg(), read.size, read.mode) == (True, size, 0o755)


@settings(max_examples=30)
@given(name=names, target=names)
@example(name=b"x" * 99, target=b"y" * 101)
@example(name=b"x" * 101, target=b"y" * 99)
@example(name=b"x" * 100, target=b"y" * 100)
def test_a_links_header_says_what_tarfile_reads_in_it(name: bytes, target: bytes) -> None:
    read = read_header(build_header(name, mtime=7, kind=LINK_TYPE, target=target))
    assert (os.fsencode(read.name), os.fsencode(read.linkname), read.mtime, read.size) == (name, target, 7, 0)
    assert read.issym()


def read_header(header: bytes) -> tarfile.TarInfo:
    assert len(header) % BLOCK == 0
    with tarfile.open(fileobj=io.BytesIO(header), mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
        read = archive.next()
    assert read is not None
    return read


def test_what_is_unpacked_is_what_was_there(repository: Path, tmp_path: Path) -> None:
    write(repository, **{"a/empty": "", "a/block": bytes(512), "a/big": os.urandom(3_000_000), "x" * 200: "long"})
    (repository / "a/block").chmod(0o700)
    (repository / "link").symlink_to("y" * 300)
    os.utime(repository / "a/empty", (12345, 12345))
    snapshot = take_snapshot(repository, Limits())
    out = unpack(snapshot, tmp_path / "out")
    snapshot.close()
    for path in ("a/empty", "a/block", "a/big", "x" * 200):
        assert (out / path).read_bytes() == (repository / path).read_bytes()
    assert ((out / "a/block").stat().st_mode & 0o777, (out / "a/empty").stat().st_mode & 0o777) == (0o755, 0o644)
    assert (out / "a/empty").stat().st_mtime == 12345
    assert os.readlink(out / "link") == "y" * 300  # noqa: PTH115 - as it is


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 123\n"


def test_pointers_whose_content_is_elsewhere_are_noted(repository: Path) -> None:
    write(repository, **{f"{number}.bin": POINTER.format(f"{number}" * 64) for number in range(8)})
    write(repository, **{"no.txt": "version https://git-lfs.github.com/spec/v1\n", "about.md": "x" + POINTER})
    snapshot = take(repository)
    [note] = snapshot.notes
    assert note.startswith("0.bin, 1.bin, 2.bin, 3.bin, 4.bin and 3 more: Git LFS pointers")
    assert "git lfs pull" in note
    for number in range(8):
        (repository / f"{number}.bin").unlink()
    assert take(repository).notes == []


def vanish(path: Path) -> None:
    path.unlink()


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def lose_its_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("")


@pytest.mark.parametrize("become", [vanish, become_a_pipe, become_a_link, become_a_folder, lose_its_folder])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_changes_between_looking_and_reading_is_left_out(
    kind: str, become: Callable[[Path], None], repository: Path, tmp_path: Path
) -> None:
    write(repository, before="1", **{"it/self": "2", "kept": "3"})
    if kind == "link":
        (repository / "it/self").unlink()
        (repository / "it/self").symlink_to("kept")
    selection = select_files(Workspace(repository), Limits())
    become(repository / "it/self")
    snapshot = fill_snapshot(selection)
    out = unpack(snapshot, tmp_path / "out")
    snapshot.close()
    if kind == "link" and become is become_a_link:
        assert snapshot.entries["it/self"].target == b"/etc/passwd"
        return
    assert set(snapshot.entries) == {"before", "kept"}
    assert sorted(path.name for path in out.iterdir()) == ["before", "kept"]
    gone = become in {vanish, lose_its_folder}
    assert snapshot.skipped == ([] if gone else ["it/self: changed into something else while it was read"])


def test_a_link_that_became_a_file_is_left_out_and_named(repository: Path) -> None:
    (repository / "link").symlink_to("x")
    selection = select_files(Workspace(repository), Limits())
    (repository / "link").unlink()
    write(repository, link="a file")
    snapshot = fill_snapshot(selection)
    snapshot.close()
    assert (snapshot.entries, snapshot.skipped) == ({}, ["link: changed into something else while it was read"])


@pytest.mark.parametrize("change", ["grow", "shrink"])
def test_a_file_that_changes_while_it_is_read_keeps_the_size_that_it_began_with(
    change: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository, a=b"a" * 1000, b="b\n")
    read = os.read

    def read_while_it_changes(descriptor: int, size: int) -> bytes:
        if os.fstat(descriptor).st_size == 1000 and os.fstat(descriptor).st_ino == (repository / "a").stat().st_ino:
            os.truncate(repository / "a", 5000 if change == "grow" else 300)
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", read_while_it_changes)
    snapshot = take_snapshot(repository, Limits())
    out = unpack(snapshot, tmp_path / "out")
    expected = b"a" * 1000 if change == "grow" else b"a" * 300 + bytes(700)
    assert (out / "a").read_bytes() == expected == whole(snapshot.read(snapshot.entries["a"]))
    assert (out / "b").read_bytes() == b"b\n"
    assert git(repository, "hash-object", "--stdin", stdin=expected).strip() == snapshot.entries["a"].blob
    snapshot.close()


def test_a_file_that_grows_between_looking_and_reading_goes_in_as_it_is_then(repository: Path) -> None:
    write(repository, a="1")
    selection = select_files(Workspace(repository), Limits())
    write(repository, a="longer")
    snapshot = fill_snapshot(selection)
    assert whole(snapshot.read(snapshot.entries["a"])) == b"longer"
    snapshot.close()


def test_a_big_file_is_never_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    tracemalloc.start()
    snapshot = take_snapshot(tmp_path, Limits())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert snapshot.entries["big"].size == 200 * 1024 * 1024
    snapshot.close()
    assert peak < 8 * 1024 * 1024
