"""The last commits as one pack, made by git; the last few packs are remembered, for the next run on the same commit."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_sandbox.workspace.git import Elsewhere, git
from langchain_sandbox.workspace.inbound.pack_memory import PackMemory, Remembered, Source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from langchain_sandbox.workspace.inbound.repository import Interior

# What is compressed already stays so; looking for better differences would cost more than it saves.
_WORDS = ("pack.window=0", "pack.threads=1", "core.compression=1", "core.fsync=none", "pack.writeReverseIndex=false")
_PACK = (*(word for setting in _WORDS for word in ("-c", setting)), "pack-objects", "--revs", "--quiet")

_memory = PackMemory()


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where a history is cut.

    Args:
        source: Where the commits come from.
        commits: Those whose parents stay behind.
        remembered: The pack of an earlier run; `None` if there is none.
    """

    source: Source
    commits: tuple[str, ...]
    remembered: Remembered | None = None


def find_boundary(root: Path, interior: Interior, head: str, depth: int) -> Boundary:
    """Find out where the history of a commit is cut.

    Args:
        root: A folder of the repository.
        interior: The repository's own files.
        head: The commit.
        depth: How many commits there are to be at most.

    Raises:
        GitError: If git cannot read them.
    """
    source = _identify(interior, head, depth)
    remembered = _memory.find(source)
    if remembered is not None:
        return Boundary(source, remembered.boundary, remembered)
    listed = git(root, "rev-list", "--parents", f"--max-count={depth}", head, "--").decode("ascii")
    commits = {words[0]: words[1:] for words in map(str.split, listed.splitlines())}
    cut = [commit for commit, its_parents in commits.items() if any(p not in commits for p in its_parents)]
    # A repository that is itself shallow shows its oldest commits without parents; they have to be named as well.
    cut += [commit for commit in source.shallow.decode("ascii", "replace").split() if commit in commits]
    return Boundary(source, tuple(cut))


def pack(root: Path, interior: Interior, folder: Path, *, boundary: Boundary | None, objects: Sequence[str]) -> str:
    """Pack the commits down to a boundary, and single objects, and return the pack's name without its ending.

    Args:
        root: A folder of the repository.
        interior: The repository's own files.
        folder: Gets the pack and its index.
        boundary: `None` where there is no commit.
        objects: Names of what is in no commit.

    Raises:
        GitError: If git cannot read them.
    """
    before = boundary.remembered if boundary is not None else None
    if before is not None and before.objects == tuple(objects) and _memory.hand_out(before, folder):
        return before.name
    cut = [f"--shallow {commit}" for commit in boundary.commits] if boundary is not None else []
    head = [boundary.source.head] if boundary is not None else []
    feed = "".join(f"{line}\n" for line in (*cut, *head, *objects)).encode("ascii")
    (folder / "objects" / "pack").mkdir(parents=True, exist_ok=True)
    elsewhere = Elsewhere(folder / "objects", interior.objects)
    told = git(root, *_PACK, "--delta-base-offset", f"{folder}/pack", stdin=feed, objects=elsewhere)
    name = f"pack-{told.decode('ascii').strip()}"
    # Only if the repository still ends where it did: else what was packed is not what this source stands for.
    if boundary is not None and _identify(interior, boundary.source.head, boundary.source.depth) == boundary.source:
        _memory.keep(Remembered(boundary.source, boundary.commits, tuple(objects), name), folder)
    return name


def _identify(interior: Interior, head: str, depth: int) -> Source:
    status: os.stat_result | None = None
    with suppress(OSError):
        status = interior.objects.stat()
    return Source(
        objects=interior.objects.resolve(),
        inode=(status.st_dev, status.st_ino) if status is not None else (0, 0),
        head=head,
        depth=depth,
        shallow=_read(interior.shallow),
        # The old way to give commits other parents.
        grafts=_read(interior.exclude.parent / "grafts"),
    )


def _read(path: Path) -> bytes:
    """A file of the repository's own; nothing where there is none. A pipe is git's to complain of."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return file.read()
    return b""
