"""The repository as it is at the start of a run: what goes in, and what changes are told against.

A snapshot is one anonymous temporary file that holds a tar archive, and an index of it in memory. The archive is
what the container gets; the contents in it are the old side of the patch, so what the user does to the tree
meanwhile changes nothing. The file has no name: it is gone with the process, however that ends.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.git import GitError, git
from langchain_sandbox.workspace.paths import is_masked, parents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.config import Limits

FILE = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000

_BLOCK = 512
_OFFENDERS = 5


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
        repository: Whether the folder is the root of a git repository with a commit.
        skipped: What was left out, as `path: reason`.
    """

    root: Path | None
    entries: dict[str, Entry]
    archive: IO[bytes]
    repository: bool = False
    skipped: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """One name for the whole state: equal if and only if paths, modes and contents are."""
        digest = hashlib.sha256()
        for path, entry in sorted(self.entries.items()):
            digest.update(b"%o %b %b\0" % (entry.mode, entry.blob.encode(), os.fsencode(path)))
        return digest.hexdigest()

    def read(self, entry: Entry) -> bytes:
        """The content of an entry, as it was."""
        if entry.target is not None:
            return entry.target
        return os.pread(self.archive.fileno(), entry.size, entry.offset)

    def close(self) -> None:
        """Let the archive go."""
        self.archive.close()


def blob_name(content: bytes) -> str:
    """Git's name for a content."""
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def take_snapshot(root: Path | None, limits: Limits) -> Snapshot:
    """Read a folder, by git's rules where it is a repository.

    Args:
        root: The folder, or `None` for nothing at all.
        limits: `workspace` and `workspace_files` bound what may go in.

    Raises:
        SandboxConfigError: If it is no folder, cannot be read, or is too big; the message names the biggest files.
    """
    if root is not None and not root.is_dir():
        msg = f"The workspace {root} is not a folder."
        raise SandboxConfigError(msg)
    archive = tempfile.TemporaryFile(prefix="langchain-sandbox-")  # noqa: SIM115 - the snapshot owns it
    snapshot = Snapshot(root, {}, archive)
    try:
        if root is not None:
            listing, snapshot.repository = _list(root)
            _fill(snapshot, root, listing, limits)
        archive.write(bytes(2 * _BLOCK))
        archive.flush()
    except BaseException:
        archive.close()
        raise
    return snapshot


def _list(root: Path) -> tuple[Iterator[str], bool]:
    """The paths that belong to the workspace, and whether its history can go in too."""
    try:
        top = Path(os.fsdecode(git(root, "rev-parse", "--show-toplevel").rstrip(b"\n")))
        names = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split(b"\0")
        head = git(root, "rev-parse", "--verify", "--quiet", "HEAD", check=False)
    except GitError as error:
        # Where there is a repository that git cannot read, the folder is not to be taken whole: what git ignores,
        # secrets among it, would go in.
        if "not a git repository" in str(error):
            link = root / ".git"
            if not link.is_symlink() and not link.is_file():
                return _walk(root), False
            msg = (
                f"The workspace {root} has a .git that leads to another folder, as a worktree's and a submodule's do. "
                "That is not there, so nobody can say what git ignores. Use the repository's main folder, or a clone."
            )
            raise SandboxConfigError(msg) from error
        msg = f"The workspace {root} is a repository that git cannot read: {error}."
        raise SandboxConfigError(msg) from error
    # Listed once for each side of a conflict; kept in order.
    paths = dict.fromkeys(os.fsdecode(name) for name in names if name)
    return iter(paths), bool(head) and top == root.resolve()


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted({*names, *links} - {".git"}):
            yield (Path(folder) / name).relative_to(root).as_posix()


def _fill(snapshot: Snapshot, root: Path, listing: Iterator[str], limits: Limits) -> None:
    room = limits.size("workspace")
    is_link = cache(lambda parent: (root / parent).is_symlink())
    for path in listing:
        if is_masked(path):
            snapshot.skipped.append(f"{clean_name(path)}: would configure OpenCode itself")
            continue
        if not any(is_link(parent) for parent in parents(path)):  # else the tracked file is gone, and another is there
            _add(snapshot, root, path, room)
        if snapshot.archive.tell() > room or len(snapshot.entries) > limits.workspace_files:
            raise SandboxConfigError(_describe_excess(snapshot, root, limits))


def _add(snapshot: Snapshot, root: Path, path: str, room: int) -> None:
    full = root / path
    try:
        status = full.lstat()
        if stat.S_ISLNK(status.st_mode):
            # Not `Path.readlink`: that one tidies the target up.
            target = os.readlink(os.fsencode(full))  # noqa: PTH115
            _write(snapshot, path, SYMLINK, target, status)
        elif stat.S_ISREG(status.st_mode):
            mode = EXECUTABLE if status.st_mode & stat.S_IXUSR else FILE
            if status.st_size > room:
                msg = f"The file {path} has {status.st_size} bytes, more than the workspace may (Limits.workspace)."
                raise SandboxConfigError(msg)
            _write(snapshot, path, mode, full.read_bytes(), status)
        elif stat.S_ISDIR(status.st_mode):
            snapshot.skipped.append(f"{clean_name(path)}: a repository inside the repository")
        else:
            snapshot.skipped.append(f"{clean_name(path)}: neither a file nor a link")
    except (FileNotFoundError, NotADirectoryError):
        return  # tracked and deleted, or deleted while we looked
    except PermissionError as error:
        msg = f"The workspace's file {path} cannot be read: {error.strerror}. Make it readable, or have git ignore it."
        raise SandboxConfigError(msg) from error


def _write(snapshot: Snapshot, path: str, mode: int, content: bytes, status: os.stat_result) -> None:
    info = tarfile.TarInfo(path)
    info.mtime = int(status.st_mtime)
    link = mode == SYMLINK
    if link:
        info.type, info.linkname = tarfile.SYMTYPE, os.fsdecode(content)
    else:
        info.size, info.mode = len(content), mode & 0o777
    # The GNU format takes names of any bytes and any length as they are.
    snapshot.archive.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    offset = snapshot.archive.tell()
    if not link:
        snapshot.archive.write(content)
        snapshot.archive.write(bytes(-len(content) % _BLOCK))
    target = content if link else None
    snapshot.entries[path] = Entry(mode, blob_name(content), len(content), offset, target)


def _describe_excess(snapshot: Snapshot, root: Path, limits: Limits) -> str:
    biggest = sorted(snapshot.entries.items(), key=lambda item: -item[1].size)[:_OFFENDERS]
    names = ", ".join(f"{path} ({entry.size} bytes)" for path, entry in biggest)
    return (
        f"The workspace {root} is more than {limits.size('workspace')} bytes or {limits.workspace_files} files "
        f"(Limits.workspace, Limits.workspace_files). The biggest until there: {names}. "
        "Have git ignore what a task does not need, or raise the limit."
    )
