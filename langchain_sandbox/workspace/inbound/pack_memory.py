"""The last few packs that this process has made: a commit is for ever, and so is its pack.

Each is known by all that goes into it, so that a repository which was fetched, cut or made anew since is another one.
How the repository keeps its objects does not matter: repacked or collected, its commits are the same.
"""

from __future__ import annotations

import atexit
import os
import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from langchain_sandbox.engine.scratch import make_scratch

if TYPE_CHECKING:
    from pathlib import Path

_PACKS = 4
_BYTES = 256 * 1024 * 1024
_PLACE = "packs"
_ENDINGS = ("pack", "idx")


class Source(NamedTuple):
    """Where commits come from.

    Args:
        objects: The folder of the repository's objects. A commit's name alone is not enough: whoever knows it would
            get what he does not have.
        inode: That folder's device and inode, which tell it from a later one in its place.
        head: The newest commit.
        depth: How many there are to be at most.
        shallow: What the repository says of where its own history ends.
        grafts: What it says of parents that are not in the commits.
    """

    objects: Path
    inode: tuple[int, int]
    head: str
    depth: int
    shallow: bytes
    grafts: bytes


class Remembered(NamedTuple):
    """One pack: its source, the commits whose parents it lacks, what else it holds, and its name."""

    source: Source
    boundary: tuple[str, ...]
    objects: tuple[str, ...]
    name: str


class PackMemory:
    """A few packs, bounded by number and bytes; they lie in a folder of this process and go with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._packs: dict[Source, Remembered] = {}
        self._sizes: dict[Source, int] = {}
        self._folder: Path | None = None
        # A child's are its own: with the parent's it would take away what the parent has.
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.clear)

    def find(self, source: Source) -> Remembered | None:
        """The pack that was made of this source last."""
        with self._lock:
            return self._packs.get(source)

    def hand_out(self, remembered: Remembered, folder: Path) -> bool:
        """Put a pack and its index into a folder, and say whether they are still there to be put."""
        with self._lock:
            try:
                self._link(remembered, self._place(), folder)
            except OSError:
                # It is not there any more, and half of it is none: a pack without its index is not taken for one.
                for ending in _ENDINGS:
                    (folder / f"{remembered.name}.{ending}").unlink(missing_ok=True)
                return False
            if self._packs.get(remembered.source) == remembered:
                self._packs[remembered.source] = self._packs.pop(remembered.source)  # the youngest again
            return True

    def keep(self, remembered: Remembered, folder: Path) -> None:
        """Remember a pack that lies in a folder; nothing happens where that cannot be."""
        with self._lock, suppress(OSError):
            place = self._place()
            size = sum((folder / f"{remembered.name}.{ending}").stat().st_size for ending in _ENDINGS)
            if size > _BYTES:
                return
            self._drop(remembered.source)
            while self._packs and (len(self._packs) >= _PACKS or sum(self._sizes.values()) + size > _BYTES):
                self._drop(next(iter(self._packs)))
            self._link(remembered, folder, place)
            self._packs[remembered.source] = remembered
            self._sizes[remembered.source] = size

    def clear(self) -> None:
        """Forget all, and remove the folder."""
        with self._lock:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._packs, self._sizes, self._folder = {}, {}, None

    def _forget(self) -> None:
        self._lock = threading.Lock()  # the parent's may be held by a thread that is not here
        self._packs, self._sizes, self._folder = {}, {}, None

    def _place(self) -> Path:
        """The folder; a new one with nothing in it where somebody has tidied up."""
        if self._folder is None or not (self._folder / _PLACE).is_dir():
            self._packs, self._sizes, self._folder = {}, {}, make_scratch()
            (self._folder / _PLACE).mkdir()
        return self._folder / _PLACE

    def _link(self, remembered: Remembered, source: Path, target: Path) -> None:
        for ending in _ENDINGS:
            name = f"{remembered.name}.{ending}"
            with suppress(FileExistsError):  # of another source that has the same objects
                os.link(source / name, target / name)

    def _drop(self, source: Source) -> None:
        dropped = self._packs.pop(source, None)
        if dropped is None:
            return
        del self._sizes[source]
        if all(other.name != dropped.name for other in self._packs.values()):
            for ending in _ENDINGS:
                (self._place() / f"{dropped.name}.{ending}").unlink(missing_ok=True)
