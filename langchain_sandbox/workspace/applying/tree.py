"""A folder of the user's, changed by the names of what is in it. No link on the way to a name is ever followed.

Each folder on the way is opened by itself and never through a link, so a name cannot come to lead elsewhere between
a look at it and what is done to it. Every system call with which a transaction changes something is in this file,
each behind a call of `_step`.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from langchain_sandbox.workspace.content import Content, pieces
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE = 1024 * 1024
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Enough to go through a folder, even where its names may not be read.
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | _FOLDER
_NOTHING_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def _step(name: str) -> None:
    """Called before every system call that changes something; a test ends the process here, or fills the disk."""


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Have an error name the path that matters to the reader, and not one of the system call's."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = path, None
        raise


class Tree:
    """An open folder. Paths are relative to it, with `/`.

    Args:
        root: The folder.

    Raises:
        OSError: If it is no folder or cannot be opened; from each method, as the system call that it is named for.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @contextmanager
    def _at(self, path: str) -> Iterator[tuple[str, int]]:
        """A path's last name, and the folder that it is in, open."""
        *folders, name = path.split("/")
        folder = os.dup(self._descriptor)
        try:
            for part in folders:
                inner = os.open(part, _PASS, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield name, folder
        finally:
            os.close(folder)

    def look(self, path: str) -> os.stat_result | None:
        """What is at a path, itself and not what it leads to; `None` for nothing."""
        try:
            with self._at(path) as (name, folder):
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOTHING_THERE:
                return None
            raise

    def is_writable(self, folder: str) -> bool:
        """Whether names may be put into a folder and taken out; `""` is the root."""
        with self._at(folder or ".") as (name, above):
            return os.access(name, os.W_OK | os.X_OK, dir_fd=above)

    def read(self, path: str, limit: int) -> bytes:
        """The content of a regular file.

        Args:
            path: The file.
            limit: Bytes that it may have.

        Raises:
            OSError: Also if it is another kind of file, or bigger.
        """
        with self._at(path) as (name, folder):
            # Not to wait for whoever may have put a pipe there.
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
                raise OSError(errno.EFBIG, "not a plain file of a bearable size", path)
            return file.read(status.st_size)

    def entries(self, path: str) -> list[tuple[str, bool]]:
        """The paths of what is in a folder, each with whether it is itself a folder."""
        with self._at(path) as (name, above):
            folder = os.open(name, os.O_RDONLY | _FOLDER, dir_fd=above)
        try:
            with os.scandir(folder) as found:
                return [(f"{path}/{entry.name}", entry.is_dir(follow_symlinks=False)) for entry in found]
        finally:
            os.close(folder)

    def walk(self, path: str) -> Iterator[tuple[str, bool]]:
        """The same for everything below a folder, outer ones first."""
        waiting = [path]
        while waiting:
            found = self.entries(waiting.pop())
            yield from found
            waiting += [inner for inner, is_folder in found if is_folder]

    def step(self, name: str) -> None:
        """Announce a change that another program is about to make here."""
        _step(name)

    def make_folder(self, path: str, bits: int = 0o777) -> None:
        """Make one folder."""
        with self._at(path) as (name, folder):
            _step(f"mkdir {path}")
            os.mkdir(name, bits, dir_fd=folder)

    def set_folder_bits(self, path: str, bits: int) -> None:
        """Give a folder its permissions."""
        with self._at(path) as (name, above):
            folder = os.open(name, os.O_RDONLY | _FOLDER, dir_fd=above)
        try:
            _step(f"chmod {path}")
            os.fchmod(folder, bits & 0o7777)
        finally:
            os.close(folder)

    def create(self, path: str, content: Content, *, mode: int, bits: int | None, like: os.stat_result | None) -> None:
        """Write a new file.

        Args:
            path: Where; nothing may be there.
            content: The content.
            mode: Git's mode: it says whether the file is executable.
            bits: Exact permission bits; `None` for those of `like`, made executable or not as `mode` says.
            like: The file whose permissions, group and, where we may, owner to take over; `None` for what the
                process' umask gives.
        """
        with self._at(path) as (name, folder):
            _step(f"create {path}")
            descriptor = os.open(name, _NEW_FILE, 0o666, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces(content):
                _step(f"write {path}")
                file.write(piece)
            file.flush()
            here = os.fstat(descriptor)
            if like is not None:
                _give_to(descriptor, here, like)
            if bits is None:
                bits = fit_bits((like or here).st_mode, mode)
            _step(f"chmod {path}")
            os.fchmod(descriptor, bits & 0o777)

    def make_link(self, path: str, target: bytes) -> None:
        """Make a symbolic link."""
        with self._at(path) as (name, folder):
            _step(f"symlink {path}")
            os.symlink(os.fsdecode(target), name, dir_fd=folder)

    def rename(self, source: str, target: str) -> None:
        """Give something another name, in place of what has that name now."""
        with self._at(source) as (name, folder), self._at(target) as (new_name, new_folder):
            _step(f"rename {source} {target}")
            os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=new_folder)

    def place(self, source: str, target: str) -> None:
        """Give something another name that nothing has. It may keep its old name as well.

        Raises:
            FileExistsError: If something has that name.
        """
        status = self.look(source)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            try:
                with self._at(source) as (name, folder), self._at(target) as (new_name, new_folder):
                    _step(f"link {source} {target}")
                    os.link(name, new_name, src_dir_fd=folder, dst_dir_fd=new_folder, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
            else:
                return
        # No call that Python has does this in one: a link is the better way where there are links.
        if self.look(target) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        self.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove a file or link."""
        with self._at(path) as (name, folder):
            _step(f"unlink {path}")
            os.unlink(name, dir_fd=folder)

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        with self._at(path) as (name, folder):
            _step(f"rmdir {path}")
            os.rmdir(name, dir_fd=folder)

    def remove(self, path: str) -> None:
        """Remove whatever is there, with everything in it; nothing is fine, too."""
        status = self.look(path)
        if status is None:
            return
        if not stat.S_ISDIR(status.st_mode):
            self.unlink(path)
            return
        for inner, is_folder in reversed([*self.walk(path)]):
            if is_folder:
                self.remove_folder(inner)
            else:
                self.unlink(inner)
        self.remove_folder(path)


def fit_bits(bits: int, mode: int) -> int:
    """Permissions like others, made executable or not as git's mode says: for those who may read."""
    plain = bits & 0o666
    return plain | (plain >> 2 & 0o111) if mode == EXECUTABLE else plain


def _give_to(descriptor: int, here: os.stat_result, like: os.stat_result) -> None:
    """Have a file belong to whom another one belongs to, as far as we may: who could read it still can."""
    if (here.st_uid, here.st_gid) == (like.st_uid, like.st_gid):
        return
    for owner in (like.st_uid, -1):
        try:
            _step("chown")
            os.fchown(descriptor, owner, like.st_gid)
        except PermissionError:
            continue
        return
