"""The repository as it is at the start of a run: what goes in, and what changes are told against.

A snapshot is one anonymous temporary file that holds a tar archive, and an index of it in memory. The archive is
what the container gets; the contents in it are the old side of the patch, so what the user does to the tree
meanwhile changes nothing. The file has no name: it is gone with the process, however that ends.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from langchain_sandbox.engine.scratch import NO_ROOM
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.content import CHUNK, Content, Stored, blob_name, read_start
from langchain_sandbox.workspace.inbound.archive import BLOCK, LINK_TYPE, build_header
from langchain_sandbox.workspace.inbound.selection import Selection, select_files
from langchain_sandbox.workspace_config import Workspace

if TYPE_CHECKING:
    from langchain_sandbox.config import Limits

FILE = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000

_LFS = b"version https://git-lfs.github.com/spec/v1\n"
_SHOWN = 5
_CHANGED = "changed into something else while it was read"
# A file that has become a link, a link that has become a file, a socket: what each of them says when it is opened.
_OF_ANOTHER_KIND = {errno.ELOOP, errno.EINVAL, errno.ENXIO}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or link: git's mode, git's name for the content, and where the content lies in the archive.

    A link's content is where it points to, and in a tar archive that is part of the header: it is kept here.
    """

    mode: int
    blob: str
    size: int
    offset: int
    target: bytes | None = None


@dataclass(slots=True)
class Snapshot:
    """What `take_snapshot` saw.

    Args:
        root: The folder; `None` for an empty workspace.
        entries: By path, relative to the root, with `/`.
        archive: The tar archive, open.
        selection: How the files were found; `None` for an empty workspace.
        skipped: What was left out, as `path: reason`.
        notes: What a user should know of the files that went in.
        written: Bytes of the archive until now.
        others: Contents that are not in the archive, by git's name for them.
    """

    root: Path | None
    entries: dict[str, Entry]
    archive: IO[bytes]
    selection: Selection | None = None
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    written: int = 0
    others: dict[str, Content] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """One name for the whole state: equal if and only if paths, modes and contents are."""
        digest = hashlib.sha256()
        for path, entry in sorted(self.entries.items()):
            digest.update(b"%o %b %b\0" % (entry.mode, entry.blob.encode(), os.fsencode(path)))
        return digest.hexdigest()

    def read(self, entry: Entry) -> Content:
        """The content of an entry, as it was."""
        if entry.target is not None:
            return entry.target
        other = self.others.get(entry.blob)
        return Stored(self.archive, entry.offset, entry.size) if other is None else other

    def close(self) -> None:
        """Let the archive go."""
        self.archive.close()


def take_snapshot(workspace: Workspace | Path | None, limits: Limits) -> Snapshot:
    """Read a folder, by git's rules where it is a repository.

    Args:
        workspace: The folder, or `None` for nothing at all.
        limits: `workspace`, `workspace_files` and `workspace_file` bound what may go in.

    Raises:
        SandboxConfigError: If it is no folder, cannot be read, or is too big; the message names the biggest files.
    """
    if isinstance(workspace, Path):
        workspace = Workspace(workspace)
    return fill_snapshot(select_files(workspace, limits) if workspace is not None else None)


def fill_snapshot(selection: Selection | None) -> Snapshot:
    """Read the files that were selected; `None` gives an empty snapshot.

    Raises:
        SandboxConfigError: If one of them cannot be read.
    """
    archive = tempfile.TemporaryFile(prefix="langchain-sandbox-", buffering=CHUNK)  # noqa: SIM115 - the snapshot's
    snapshot = Snapshot(selection.root if selection else None, {}, archive, selection)
    try:
        if selection is not None:
            snapshot.skipped += selection.skipped
            _fill(snapshot, selection)
        archive.write(bytes(2 * BLOCK))
        archive.flush()
    except BaseException:
        with suppress(OSError):  # what could not be written before cannot be now
            archive.close()
        raise
    return snapshot


def _fill(snapshot: Snapshot, selection: Selection) -> None:
    pointers = []
    for path, status in selection.files.items():
        add_path(snapshot, path, status)
        if status.st_size < len(_LFS) * 8 and _is_pointer(snapshot, path):
            pointers.append(clean_name(path))
    if pointers:
        more = f" and {len(pointers) - _SHOWN} more" if len(pointers) > _SHOWN else ""
        snapshot.notes.append(
            f"{', '.join(pointers[:_SHOWN])}{more}: Git LFS pointers whose content is not here, so the agent sees the "
            "pointers; run `git lfs pull` first if it needs the content."
        )


def add_path(snapshot: Snapshot, path: str, status: os.stat_result) -> None:
    """Read one file or link into a snapshot; one that is not there any more is passed over.

    Args:
        snapshot: Grows.
        path: Relative to its root.
        status: How it looked when it was listed.

    Raises:
        SandboxConfigError: If it cannot be read.
    """
    full = f"{snapshot.root}/{path}"
    try:
        if stat.S_ISLNK(status.st_mode):
            _add_link(snapshot, path, full, status)
        else:
            _add_file(snapshot, path, full)
    except (FileNotFoundError, NotADirectoryError):
        return  # deleted while we looked
    except OSError as error:
        if error.errno in NO_ROOM:
            raise  # for the copy
        if error.errno in _OF_ANOTHER_KIND:
            snapshot.skipped.append(f"{clean_name(path)}: {_CHANGED}")
            return
        msg = (
            f"The workspace's file {path} cannot be read: {error.strerror}. Make it readable, have git ignore it, "
            "or name it in Workspace(exclude=...)."
        )
        raise SandboxConfigError(msg) from error


def _add_link(snapshot: Snapshot, path: str, full: str, status: os.stat_result) -> None:
    # Not `Path.readlink`: that one tidies the target up.
    target = os.readlink(os.fsencode(full))  # noqa: PTH115
    header = build_header(os.fsencode(path), mtime=int(status.st_mtime), kind=LINK_TYPE, target=target)
    snapshot.archive.write(header)
    snapshot.written += len(header)
    snapshot.entries[path] = Entry(SYMLINK, blob_name(target), len(target), 0, target)


def _add_file(snapshot: Snapshot, path: str, full: str) -> None:
    descriptor = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # Looked at again: the name may be another file's by now. What grows while we read is cut, what shrinks filled.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            snapshot.skipped.append(f"{clean_name(path)}: {_CHANGED}")
            return
        size = status.st_size
        mode = EXECUTABLE if status.st_mode & stat.S_IXUSR else FILE
        header = build_header(os.fsencode(path), mtime=int(status.st_mtime), size=size, mode=mode & 0o777)
        name = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        pieces, left = [header], size
        while left:
            pieces.append(os.read(descriptor, min(CHUNK, left)) or bytes(min(CHUNK, left)))
            name.update(pieces[-1])
            left -= len(pieces[-1])
            if left:  # the last piece waits for what comes behind it: most files are one
                snapshot.archive.writelines(pieces)
                pieces.clear()
        pieces.append(bytes(-size % BLOCK))
        snapshot.archive.write(b"".join(pieces))
    finally:
        os.close(descriptor)
    snapshot.entries[path] = Entry(mode, name.hexdigest(), size, snapshot.written + len(header))
    snapshot.written += len(header) + size + -size % BLOCK


def _is_pointer(snapshot: Snapshot, path: str) -> bool:
    entry = snapshot.entries.get(path)
    if entry is None or not len(_LFS) < entry.size < len(_LFS) * 8:
        return False
    snapshot.archive.flush()
    return read_start(snapshot.read(entry), len(_LFS)) == _LFS
