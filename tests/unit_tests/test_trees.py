"""Trees that are written by hand are ones that git reads as its own."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repositories import git
from trees import contents, paths

from langchain_sandbox.workspace.git import scratch_repository
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK
from langchain_sandbox.workspace.outbound import trees
from langchain_sandbox.workspace.outbound.trees import write_trees


def lies_below(path: str, others: set[str]) -> bool:
    return any(path.startswith(f"{other}/") for other in others)


@settings(max_examples=20, deadline=None)
@given(
    tree=st.dictionaries(paths, st.tuples(st.sampled_from([FILE, EXECUTABLE, SYMLINK]), contents), max_size=12),
    far=st.sampled_from([2**31, 60]),
)
def test_git_finds_what_was_written(tree: dict[str, tuple[int, bytes]], far: int) -> None:
    tree = {path: side for path, side in tree.items() if not lies_below(path, set(tree))}
    with pytest.MonkeyPatch.context() as patched, scratch_repository() as scratch:
        patched.setattr(trees, "_FAR", far)
        [name] = write_trees(scratch, tree)
        listed = git(scratch, "ls-tree", "-r", "-z", name).split("\0")[:-1]
        found = {}
        for record in listed:
            described, path = record.split("\t", 1)
            mode, _, blob = described.split(" ")
            found[path] = (int(mode, 8), read(scratch, blob))
        assert found == tree
        git(scratch, "fsck", "--full", "--strict", "--no-dangling")
        for pack in (scratch / "objects/pack").glob("*.idx"):
            git(scratch, "verify-pack", str(pack))


def read(scratch: Path, blob: str) -> bytes:
    return git(scratch, "cat-file", "blob", blob).encode("utf-8", "surrogateescape")
