"""What each path is to be: the patch's word where the tree is as it was, a three-way merge where it moved on."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from langchain_sandbox.engine.scratch import scratch_folder
from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.applying.transaction import Seen, Write
from langchain_sandbox.workspace.applying.tree import fit_bits
from langchain_sandbox.workspace.content import CHUNK, Content, Stored, append, blob_name, is_text, save
from langchain_sandbox.workspace.git import GitError, scratch_git
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK
from langchain_sandbox.workspace.paths import parents

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.workspace.outbound.patch_header import PatchedFile

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

GONE = "not there any more"
_MOVED = "not as when the run began"


@dataclass(frozen=True, slots=True)
class State:
    """How a path is now: how it looked when it was read, git's mode (0 for what git does not keep), and its content."""

    seen: Seen
    mode: int
    blob: str
    content: Content

    @property
    def bits(self) -> int:
        """Its permissions."""
        return stat.S_IMODE(self.seen.mode)


@dataclass(frozen=True, slots=True)
class Side:
    """A path's state in the patch: git's mode and name, and the content."""

    mode: int
    blob: str
    content: Content

    def is_like(self, state: State | None) -> bool:
        """Whether that is what is there."""
        return state is not None and (state.mode, state.blob) == (self.mode, self.blob)


@dataclass(slots=True)
class MergePlan:
    """What has to be written, and what keeps it from being written.

    Args:
        writes: The new states.
        former: The states that they take the place of, by path; `None` where nothing is.
        merged: Paths that were merged three ways.
        conflicts: Paths that cannot be merged, as `path: reason`.
    """

    writes: list[Write] = field(default_factory=list)
    former: dict[str, State | None] = field(default_factory=dict)
    merged: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def look(root: Path, path: str, spool: IO[bytes]) -> State | None:
    """How a path is now; a folder, and what lies behind a link, is nothing.

    Args:
        root: The tree.
        path: Relative to it.
        spool: Gets the content.

    Raises:
        OSError: If it cannot be read.
    """
    full = os.path.join(root, path)  # noqa: PTH118 - names of any bytes, untidied
    if any(os.path.islink(os.path.join(root, parent)) for parent in parents(path)):  # noqa: PTH114, PTH118 - as above
        return None
    try:
        status = os.lstat(full)
        if stat.S_ISDIR(status.st_mode):
            return None
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(os.fsencode(full))  # noqa: PTH115 - as above
            return State(Seen.of(status), SYMLINK, blob_name(target), target)
        if not stat.S_ISREG(status.st_mode):
            return State(Seen.of(status), 0, "", b"")
        descriptor = os.open(full, _READ)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        status = os.fstat(descriptor)
        offset = spool.seek(0, os.SEEK_END)
        while chunk := file.read(CHUNK):
            spool.write(chunk)
        spool.flush()
    content = Stored(spool, offset, spool.tell() - offset)
    mode = EXECUTABLE if status.st_mode & stat.S_IXUSR else FILE
    return State(Seen.of(status), mode, blob_name(content), content)


def name_state(here: State | None) -> tuple[int, str] | None:
    """Git's mode and name of the content; `None` for nothing."""
    return (here.mode, here.blob) if here is not None else None


class Merger:
    """Decides path by path.

    Args:
        here: How the paths are now.
        moved: Whether a path that is not as it was is merged, or is a conflict.
        spool: Gets the merged contents.
    """

    def __init__(self, here: dict[str, State | None], *, moved: str, spool: IO[bytes]) -> None:
        self._here = here
        self._moved = moved
        self._spool = spool
        self.plan = MergePlan()

    def settle(self, file: PatchedFile, base: Side | None, new: Side | None) -> None:
        """Decide what becomes of one file of the patch.

        Args:
            file: What the patch says of it.
            base: Its former state in the patch.
            new: Its new state in the patch.
        """
        if file.kind == "renamed" and file.old_path is not None and base is not None and new is not None:
            self._rename(file.old_path, file.path, base, new)
            return
        here = self._here[file.path]
        if (new.is_like(here)) if new is not None else here is None:
            return  # it is so already
        if (base.is_like(here)) if base is not None else here is None:
            self._put(file.path, new)
        else:
            self._put_merged(file.path, file.path, base, new)

    def _rename(self, old: str, path: str, base: Side, new: Side) -> None:
        here, there = self._here[old], self._here[path]
        if here is None and new.is_like(there):
            return
        if there is not None and not new.is_like(there):
            self._conflict(path, "there already, with another content")
        elif here is None:
            self._conflict(old, GONE)
        elif base.is_like(here):
            self._put(old, None)
            if there is None:
                self._put(path, new, like=here)
        elif there is not None:
            self._conflict(old, _MOVED)
        else:
            self._put_merged(old, path, base, new)

    def _put(self, path: str, side: Side | None, *, like: State | None = None) -> None:
        """Give a path a state; where it is `like` a file that goes, whoever could read that can read it."""
        here = self._here[path]
        self.plan.former[path] = here
        seen = here.seen if here else None
        if side is None:
            self.plan.writes.append(Write(path=path, seen=seen, mode=None))
        else:
            bits = fit_bits(like.bits, side.mode) if like is not None and side.mode != SYMLINK else None
            self.plan.writes.append(Write(path=path, seen=seen, mode=side.mode, content=side.content, bits=bits))

    def _put_merged(self, old: str, path: str, base: Side | None, new: Side | None) -> None:
        """Merge what is at `old` with the patch, into `path`."""
        here = self._here[old]
        if self._moved == "refuse":
            self._conflict(old, GONE if here is None else _MOVED if base else "there already")
        elif base is None:
            self._conflict(old, "there already, with another content")
        elif here is None:
            self._conflict(old, GONE)
        elif new is None:
            self._conflict(old, "changed here, and deleted in the sandbox")
        elif (base.mode, base.blob) == (new.mode, new.blob) and here.mode:
            self._put_result(old, path, here, Side(here.mode, here.blob, here.content))  # renamed, and nothing else
        elif SYMLINK in {here.mode, base.mode, new.mode} or not here.mode:
            self._conflict(old, "changed here and in the sandbox, and not a file on all sides")
        else:
            merged = self._merge(here, base, new)
            if merged is None:
                self._conflict(old, "changed here and in the sandbox in the same place")
                return
            mode = new.mode if here.mode == base.mode else here.mode
            self._put_result(old, path, here, Side(mode, blob_name(merged), merged))

    def _put_result(self, old: str, path: str, here: State, result: Side) -> None:
        if old != path:
            self._put(old, None)
        if old != path or not result.is_like(here):
            self._put(path, result, like=here if old != path else None)
            self.plan.merged.append(path)

    def _merge(self, here: State, base: Side, new: Side) -> Content | None:
        """The merged content; `None` if there is a conflict."""
        if base.blob == new.blob:
            return here.content
        if here.blob in {base.blob, new.blob}:
            return new.content
        contents = {"here": here.content, "base": base.content, "new": new.content}
        if not all(map(is_text, contents.values())):
            return None
        with scratch_folder() as folder:
            for name, content in contents.items():
                save(content, folder / name)
            try:
                scratch_git(folder, "merge-file", "--quiet", "here", "base", "new")
            except GitError:
                return None  # it ends with the number of conflicts
            with (folder / "here").open("rb") as file:
                return append(Stored(file, 0, file.seek(0, os.SEEK_END)), self._spool)

    def _conflict(self, path: str, reason: str) -> None:
        self.plan.conflicts.append(f"{clean_name(path)}: {reason}")
