"""How git saw each tracked file last: what tells which ones are as they were, without reading them.

Git itself is not asked what has changed: to know that of a file which is as young as the index, it would run a filter
that the repository names.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from langchain_sandbox.workspace.git import git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What `git ls-files -z --debug` says of one path.
_ENTRY = re.compile(
    rb"([^\0]+)\0  ctime: (\d+):(\d+)\n  mtime: (\d+):(\d+)\n  dev: \d+\tino: (\d+)\n"
    rb"  uid: \d+\tgid: \d+\n  size: (\d+)\tflags: ([0-9a-f]+)\n"
)
_INTENDED = 0x2000_0000
_LOW = 0xFFFF_FFFF
_BILLION = 1_000_000_000


class Listed(NamedTuple):
    """One tracked file; times are nanoseconds, inode and size their lower 32 bits."""

    ctime: int
    mtime: int
    inode: int
    size: int
    flags: int

    @property
    def is_intended(self) -> bool:
        """Whether it is only meant to be added."""
        return bool(self.flags & _INTENDED)

    def is_like(self, status: os.stat_result) -> bool:
        """Whether a file looks as git saw it."""
        now = (status.st_ctime_ns, status.st_mtime_ns, status.st_ino & _LOW, status.st_size & _LOW)
        return self[:4] == now


def list_index(root: Path, *arguments: str) -> Iterator[tuple[str, Listed]]:
    """The tracked files, each with how git saw it.

    Args:
        root: A folder of the repository.
        arguments: For `git ls-files`: which ones, and how they are called.

    Raises:
        GitError: If git cannot say.
    """
    for entry in _ENTRY.finditer(git(root, "ls-files", "-z", "--debug", *arguments)):
        seconds, nanoseconds, more_seconds, more_nanoseconds, inode, size = map(int, entry.groups()[1:7])
        ctime, mtime = seconds * _BILLION + nanoseconds, more_seconds * _BILLION + more_nanoseconds
        yield os.fsdecode(entry[1]), Listed(ctime, mtime, inode, size, int(entry[8], 16))
