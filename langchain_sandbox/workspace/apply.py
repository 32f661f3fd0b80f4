"""Puts a patch into the user's tree, if that is still as it was when the run began."""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.git import GitError, scratch_git, scratch_repository
from langchain_sandbox.workspace.patch import BASE, fill
from langchain_sandbox.workspace.paths import find_fault, parents
from langchain_sandbox.workspace.snapshot import (
    EXECUTABLE,
    FILE,
    SYMLINK,
    Entry,
    Snapshot,
    blob_name,
    take_snapshot,
)

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.config import Limits

_GONE = "000000"
_SHOWN = 5

State = tuple[int, bytes] | None
"""Mode and content, or `None` for a path that is not there."""


def apply_patch(root: Path, text: str, *, digest: str, limits: Limits) -> list[str]:
    """Apply a patch to a tree that is as it was, and return the paths that it changed.

    The new contents are worked out in a scratch repository first; the tree is touched only when all of them are
    known, and put back as it was if one cannot be written.

    Args:
        root: The workspace's folder.
        text: The patch.
        digest: Of the tree that it was made against.
        limits: As for the run.

    Raises:
        SandboxApplyError: If the tree is not as it was, or a file cannot be written.
    """
    if not text:
        return []
    snapshot = take_snapshot(root, limits)
    try:
        if snapshot.digest != digest:
            msg = (
                f"{root} is not as it was when the run began, so its changes were not applied. "
                "Commit or stash what you changed since, or apply result.patch yourself with `git apply --3way`."
            )
            raise SandboxApplyError(msg)
        return apply_to_snapshot(root, text, snapshot)
    finally:
        snapshot.close()


def apply_to_snapshot(root: Path, text: str, snapshot: Snapshot) -> list[str]:
    """Apply a patch whose own paths are as they are in a snapshot; what others are is no matter.

    Args:
        root: The workspace's folder.
        text: The patch.
        snapshot: The tree that it was made against.

    Raises:
        SandboxApplyError: If one of its paths is not as it was, or cannot be written; then none is changed.
    """
    if not text:
        return []
    wanted = _work_out(root, snapshot, text)
    moved = [path for path in wanted if not _is_as_it_was(root / path, snapshot.entries.get(path))]
    if moved:
        msg = (
            f"{', '.join(sorted(moved)[:_SHOWN])}: not as when the run began, so no change was applied. "
            "Commit or stash what you changed since, or apply result.patch yourself with `git apply --3way`."
        )
        raise SandboxApplyError(msg)
    _write_all(root, snapshot, wanted)
    return sorted(wanted)


def _is_as_it_was(path: Path, entry: Entry | None) -> bool:
    try:
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            return entry is None  # folders are no entries; if it is in the way, writing fails and is undone
        if entry is None:
            return False
        if stat.S_ISLNK(status.st_mode):
            return entry.mode == SYMLINK and os.readlink(os.fsencode(path)) == entry.target  # noqa: PTH115 - untidied
        mode = EXECUTABLE if status.st_mode & stat.S_IXUSR else FILE
        return entry.mode == mode and entry.size == status.st_size and blob_name(path.read_bytes()) == entry.blob
    except (FileNotFoundError, NotADirectoryError):
        return entry is None
    except OSError:
        return False


def _work_out(root: Path, snapshot: Snapshot, text: str) -> dict[str, State]:
    """What each path will be: mode and content, or `None` for deleted."""
    with scratch_repository() as scratch:
        try:
            content = text.encode("utf-8")
            touched = _touched(scratch, content)
            before = {
                path: (snapshot.entries[path].mode, snapshot.read(snapshot.entries[path]))
                for path in touched
                if path in snapshot.entries
            }
            fill(scratch, before, {})
            scratch_git(scratch, "read-tree", BASE)
            scratch_git(scratch, "apply", "--cached", "--binary", "--whitespace=nowarn", "-", stdin=content)
            tree = scratch_git(scratch, "write-tree").decode("ascii").strip()
            raw = scratch_git(scratch, "diff-tree", "-r", "-z", "--no-renames", BASE, tree).decode(
                "utf-8", "surrogateescape"
            )
            fields = iter(raw.split("\0"))
            wanted: dict[str, State] = {}
            for field in fields:
                if not field:
                    continue
                _, mode, _, blob, _ = field.split(" ")
                path = next(fields)
                wanted[path] = None if mode == _GONE else (int(mode, 8), scratch_git(scratch, "cat-file", "blob", blob))
        except (GitError, ValueError) as error:
            msg = f"The patch does not apply: {error}"
            raise SandboxApplyError(msg) from error
    for path, state in wanted.items():
        fault = find_fault(path)
        # What is there and not in the snapshot is ignored by git: it may be the only copy.
        full = root / path
        taken = path not in snapshot.entries and os.path.lexists(full) and (full.is_symlink() or not full.is_dir())
        if fault is None and state is not None and taken:
            fault = "there already, ignored by git"
        if fault is not None:
            msg = f"The patch changes {path!r}, which is {fault}; nothing was changed."
            raise SandboxApplyError(msg)
    return wanted


def _touched(scratch: Path, content: bytes) -> set[str]:
    """The paths that a patch reads or writes, by git's own reading of it."""
    found = set()
    # A rename is listed under its new name; read in reverse, under its old one.
    for direction in ((), ("--reverse",)):
        listed = scratch_git(scratch, "apply", *direction, "--numstat", "-z", "-", stdin=content)
        for field in listed.decode("utf-8", "surrogateescape").split("\0"):
            if field:
                found.add(field.split("\t", 2)[2])
    return found


def _write_all(root: Path, snapshot: Snapshot, wanted: dict[str, State]) -> None:
    done: list[tuple[str, State, int | None]] = []
    path = ""
    try:
        # Deletions first: a folder may take a file's place.
        for path in sorted(wanted, key=lambda path: (wanted[path] is not None, path)):
            entry = snapshot.entries.get(path)
            before = (entry.mode, snapshot.read(entry)) if entry else None
            bits = (root / path).lstat().st_mode & 0o777 if entry and entry.mode != SYMLINK else None
            done.append((path, before, bits))
            _put(root, path, wanted[path])
    except OSError as error:
        failed = _put_back(root, done)
        rest = f"; these could not be put back: {', '.join(failed)}" if failed else "; everything was put back"
        msg = f"{path} could not be written ({error.strerror}){rest}."
        raise SandboxApplyError(msg) from error


def _put_back(root: Path, done: list[tuple[str, State, int | None]]) -> list[str]:
    """Undo, last first, and return the paths that would not."""
    failed = []
    for path, before, bits in reversed(done):
        try:
            _put(root, path, before)
            if bits is not None:
                (root / path).chmod(bits)
        except OSError:
            failed.append(path)
    return failed


def _put(root: Path, path: str, state: State) -> None:
    """Give one path its new state. No link on the way is followed: it could lead out of the tree."""
    full = root / path
    for parent in parents(path):
        if (root / parent).is_symlink():
            raise NotADirectoryError(20, "a link is on the way", str(full))
    if state is None:
        full.unlink(missing_ok=True)
        _remove_empty(root, full.parent)
        return
    mode, content = state
    full.parent.mkdir(parents=True, exist_ok=True)
    temporary = full.with_name(f".{secrets.token_hex(8)}.langchain-sandbox")
    try:
        if mode == SYMLINK:
            temporary.symlink_to(os.fsdecode(content))
        else:
            with temporary.open("xb") as file:
                file.write(content)
            # Readers stay readers: the old file's bits if there is one, else what the umask gives.
            plain = (full if full.is_file() and not full.is_symlink() else temporary).stat().st_mode & 0o666
            temporary.chmod(plain | (plain >> 2 & 0o111) if mode == EXECUTABLE else plain)
        temporary.replace(full)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _remove_empty(root: Path, folder: Path) -> None:
    while folder != root:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
