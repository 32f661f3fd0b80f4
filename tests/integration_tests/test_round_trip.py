"""Any workspace goes in whole, and any change to it comes back as a patch that makes exactly that change."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
from hypothesis import HealthCheck, given, settings
from transfer import host_side
from transfer.cases import Case, cases, make
from transfer.container import Listing, TransferContainer, open_container
from transfer.desk import Desk, Tree
from transfer.host_side import Outcome, Parcel
from unit_tests.trees import read

from langchain_sandbox.config import Limits
from langchain_sandbox.engine.images.package_image import require_image
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK

State = dict[str, tuple[int, int, bytes]]
"""Everything in a folder, folders and `.git` too: mode, time of the last change in ns, content."""


@pytest.fixture
def container(client: docker.DockerClient) -> Iterator[TransferContainer]:
    with open_container(require_image(client), Limits()) as opened:
        yield opened


@settings(
    max_examples=200,
    deadline=None,
    # One container for all: each case wipes it, and fails if something stays.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cases())
def test_what_was_done_inside_is_what_the_patch_does_outside(container: TransferContainer, case: Case) -> None:
    with tempfile.TemporaryDirectory() as name:
        users, gits, ours = (Path(name, kind) for kind in ("user", "git", "ours"))
        place = make(case, users).relative_to(users)
        before = look(users)
        with closing(host_side.pack(users / place, Limits())) as parcel:
            outcome = take_round(container, parcel, case)
            assert look(users) == before  # to the last byte of the index
            assert outcome.skipped == []
            assert bool(outcome.patch) == bool(outcome.paths) == (case.wanted != case.tree | case.extra)
            for copy in (gits, ours):
                subprocess.run(["cp", "-a", users, copy], check=True)
            apply_with_git(gits, place, outcome)
            host_side.apply(ours / place, outcome)
        for copy in (gits, ours):
            assert read_work_tree(copy / place) == case.wanted
            after = look(copy / place)
            for path, side in (case.tree | case.extra).items():
                if case.wanted.get(path) == side:  # what was not changed was not written either
                    assert after[path] == before[(place / path).as_posix()]


def test_a_change_that_no_patch_can_hold_does_not_take_the_others_with_it(
    container: TransferContainer, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(os.fsdecode(b"caf\xe9"))
    with closing(host_side.pack(tmp_path, Limits())) as parcel:
        container.bring_in(parcel)
        desk = Desk({"link": (SYMLINK, b"caf\xe9")})
        desk.clear("link")
        desk.write("other", b"1\n")
        container.operate(desk.operations)
        outcome = container.take_out(parcel)
    assert outcome.paths == ["other"]
    assert "link" in outcome.skipped[0]


def test_a_file_that_only_looks_changed_is_no_change(container: TransferContainer, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1\n")
    (tmp_path / "b").write_bytes(b"1\n")
    desk = Desk({"a": (FILE, b"1\n"), "b": (FILE, b"1\n")})
    desk.clear("a")
    desk.write("a", b"1\n")
    desk.chmod("b", 0o600)
    with closing(host_side.pack(tmp_path, Limits())) as parcel:
        container.bring_in(parcel)
        container.operate(desk.operations)
        assert container.take_out(parcel) == Outcome(patch=b"", paths=[], skipped=[])


def take_round(container: TransferContainer, parcel: Parcel, case: Case) -> Outcome:
    """In, what is to be done there, and out again."""
    try:
        container.bring_in(parcel)
        assert container.list_files() == list_tree(case.tree)
        container.operate(case.desk.operations)
        assert lay_out(container.list_files()) == list_tree(case.desk.tree)
        return container.take_out(parcel)
    finally:
        container.wipe()


def list_tree(tree: Tree) -> Listing:
    """A tree as the container lists it when it has just arrived."""
    modes = {FILE: 0o100644, EXECUTABLE: 0o100755, SYMLINK: 0o120777}
    return {path: (modes[mode], hashlib.sha256(content).hexdigest()) for path, (mode, content) in tree.items()}


def lay_out(listing: Listing) -> Listing:
    """The same with permissions as git tells them."""
    return {
        path: (mode if mode & 0o20000 else 0o100755 if mode & 0o100 else 0o100644, digest)
        for path, (mode, digest) in listing.items()
    }


def look(root: Path) -> State:
    state = {}
    for folder, folders, names in os.walk(root):
        for path in (Path(folder, name) for name in (*names, *folders)):
            status = path.lstat()
            content = b""
            if path.is_symlink():
                content = os.fsencode(os.readlink(path))  # noqa: PTH115 - pathlib tidies the target up
            elif path.is_file():
                content = path.read_bytes()
            state[path.relative_to(root).as_posix()] = (status.st_mode, status.st_mtime_ns, content)
    return state


def read_work_tree(root: Path) -> Tree:
    return {path: side for path, side in read(root).items() if not path.startswith(".git/")}


def apply_with_git(folder: Path, place: Path, outcome: Outcome) -> None:
    if outcome.patch:
        # From the repository's root: in a folder below, git passes over a patch's paths without a word.
        command = ["git", "apply", "--whitespace=nowarn", f"--directory={'/'.join(place.parts)}"]
        subprocess.run(command, cwd=folder, input=outcome.text.encode(), check=True)
