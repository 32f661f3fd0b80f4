"""An index of our own making is one that git reads as its own."""

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repositories import commit, forget_settings, git, init

from langchain_sandbox.agent.index import ASSUME_UNCHANGED, INTENT_TO_ADD, SKIP_WORKTREE, IndexEntry, build_index
from langchain_sandbox.agent.manifest import take_manifest

BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget_settings(monkeypatch, tmp_path / "home")
    return init(tmp_path / "repository")


def put(root: Path, entries: list[IndexEntry]) -> None:
    status = root.stat()
    index = build_index(entries, device=status.st_dev, uid=status.st_uid, gid=status.st_gid)
    (root / ".git/index").write_bytes(index)


def test_the_index_of_a_checkout_is_the_one_that_git_makes_itself(root: Path) -> None:
    names = ["a", "dir/b", "dir.c", "dir0", "x" * 250, *("y" * length for length in range(1, 12)), "ü\n"]
    commit(root, **dict.fromkeys(names, ""))
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "link").symlink_to("a")
    for path in root.iterdir():
        os.utime(path, ns=(10**18 + 123, 10**18 + 456), follow_symlinks=False)
    git(root, "add", "--all")
    git(root, "update-index", "--refresh", check=False)
    own = git(root, "ls-files", "--stage", "--debug")
    manifest = take_manifest(str(root))
    entries = []
    for line in git(root, "ls-files", "--stage", "-z").split("\0")[:-1]:
        described, path = line.split("\t", 1)
        mode, blob, _ = described.split(" ")
        entries.append(IndexEntry(os.fsencode(path), int(mode, 8), blob, seen=manifest[path]))
    put(root, entries[::-1])
    assert git(root, "ls-files", "--stage", "--debug") == own
    before = (root / ".git/index").stat().st_mtime_ns
    git(root, "-c", "core.optionalLocks=false", "diff-files", "--quiet")  # fails where a file would have to be read
    assert (root / ".git/index").stat().st_mtime_ns == before


def test_times_and_numbers_beyond_32_bits_are_cut_as_git_cuts_them(root: Path) -> None:
    seen = (0o100644, 2**33 + 5, 2**33 * 10**9 + 7, -1, 2**40 + 9)
    put(root, [IndexEntry(b"a", 0o100644, BLOB, seen=seen)])
    told = git(root, "ls-files", "--debug")
    assert "size: 5\t" in told
    assert "mtime: 0:7\n" in told
    assert "ino: 9\n" in told


def test_flags_and_stages_are_what_git_reads(root: Path) -> None:
    git(root, "hash-object", "-w", "--stdin")
    put(
        root,
        [
            IndexEntry(b"assumed", 0o100644, BLOB, flag=ASSUME_UNCHANGED),
            IndexEntry(b"skipped", 0o100644, BLOB, more_flags=SKIP_WORKTREE),
            IndexEntry(b"meant", 0o100755, BLOB, more_flags=INTENT_TO_ADD),
            *(IndexEntry(b"torn", 0o100644, BLOB, stage) for stage in (3, 1, 2)),
        ],
    )
    assert git(root, "ls-files", "-v", "-t").splitlines() == [
        "h assumed",
        "H meant",
        "S skipped",
        "M torn",
        "M torn",
        "M torn",
    ]
    assert [line.split("\t") for line in git(root, "ls-files", "--unmerged").splitlines()] == [
        [f"100644 {BLOB} {stage}", "torn"] for stage in (1, 2, 3)
    ]
    assert git(root, "diff-files", "--name-status").splitlines() == ["D\tmeant", "U\ttorn", "D\ttorn"]


names = st.binary(min_size=1, max_size=30).map(lambda name: b"n" + name.replace(b"\0", b"x").replace(b"/", b"y"))


@settings(max_examples=25)
@given(paths=st.sets(names | names.map(lambda name: name * 200), max_size=8), flag=st.sampled_from([0, SKIP_WORKTREE]))
def test_names_of_any_bytes_and_lengths_are_read_in_gits_own_order(
    paths: set[bytes],
    flag: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.getbasetemp() / "names"
    if not root.exists():
        init(root)
    put(root, [IndexEntry(path, 0o100644, BLOB, more_flags=flag) for path in paths])
    version = struct.unpack(">I", (root / ".git/index").read_bytes()[4:8])[0]
    assert version == (3 if flag and paths else 2)
    listed = git(root, "ls-files", "-z").split("\0")[:-1]
    assert [os.fsencode(path) for path in listed] == sorted(paths)


def test_an_empty_index_is_one(root: Path) -> None:
    put(root, [])
    assert git(root, "ls-files") == ""
    assert git(root, "fsck") == ""
