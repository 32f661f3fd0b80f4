"""What is too long for memory goes through files, on the way out and into the tree."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from langchain_sandbox.config import Limits
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.workspace.applying.apply import apply_changes
from langchain_sandbox.workspace.applying.revert import revert_changes
from langchain_sandbox.workspace.content import Stored, blob_name, read_start
from langchain_sandbox.workspace.git import GitError, scratch_repository
from langchain_sandbox.workspace.inbound.snapshot import FILE, take_snapshot
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.outbound.keep import keep_changes
from langchain_sandbox.workspace.outbound.objects import read_blobs
from langchain_sandbox.workspace.outbound.patch import build_patch
from langchain_sandbox.workspace.outbound.trees import write_trees
from langchain_sandbox.workspace_config import ApplyPolicy

MIB = 1024 * 1024
SIZE = 12 * MIB
ROOM = 6 * MIB  # some pieces of 1 MiB


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def write_big(path: Path, piece: bytes) -> None:
    with path.open("wb") as file:
        for _ in range(SIZE // len(piece)):
            file.write(piece)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("piece", [b"x" * 1023 + b"y", b"x" * 1023 + b"\xff"], ids=["one line", "binary"])
def test_a_big_file_is_told_applied_and_put_back_without_being_held(tmp_path: Path, piece: bytes) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write_big(root / "big", piece)
    write_big(tmp_path / "new", piece[::-1])
    before = (root / "big").stat()
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with (tmp_path / "new").open("rb") as file:
        snapshot = take_snapshot(root, Limits())
        changes = [Change("big", FILE, Stored(file, 0, SIZE)), Change("small", FILE, b"x\n")]
        patch = build_patch(snapshot, changes)
        keep_changes(folder, patch=patch, changes=changes, snapshot=snapshot, bundle=None)
        snapshot.close()
        new = blob_name(changes[0].content)
        report = apply_changes(
            root, patch.content, find_base=lambda _: None, policy=ApplyPolicy(), record_in=folder.applied
        )
    assert report.paths == ["big", "small"]
    assert patch.size == folder.patch.stat().st_size
    patch.close()
    with (root / "big").open("rb") as file:
        assert blob_name(Stored(file, 0, SIZE)) == new
    revert_changes(root, folder.applied)
    with (root / "big").open("rb") as file:
        assert read_start(Stored(file, 0, SIZE), len(piece)) == piece
    assert (root / "big").stat().st_size == before.st_size
    assert tracemalloc.get_traced_memory()[1] < ROOM


def test_contents_are_read_by_their_names_in_any_number(tmp_path: Path) -> None:
    contents = {f"{number}": b"%d\n" % number * number for number in range(300)} | {"empty": b"", "\n": b"a\nblob 1\n"}
    names = {blob_name(content): content for content in contents.values()}
    with scratch_repository() as scratch, (tmp_path / "into").open("w+b") as into:
        into.write(b"was here before")
        [tree] = write_trees(scratch, {path: (FILE, content) for path, content in contents.items()})
        found = read_blobs(scratch, [*names, *names], into)
        assert {name: read_start(stored, MIB) for name, stored in found.items()} == names
        assert read_blobs(scratch, [], into) == {}
        with pytest.raises(GitError, match="does not know"):
            read_blobs(scratch, ["1" * 40], into)
        with pytest.raises(GitError, match="does not know"):  # it is no content
            read_blobs(scratch, [tree], into)
