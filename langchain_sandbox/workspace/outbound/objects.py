"""Contents out of a repository of our own, however many and however long, by one git process."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

from langchain_sandbox.workspace.content import Stored
from langchain_sandbox.workspace.git import GitError, scratch_pipe

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LONGEST_HEADER = 100


def read_blobs(scratch: Path, names: Iterable[str], into: IO[bytes]) -> dict[str, Stored]:
    """Read contents by git's names for them.

    Args:
        scratch: The repository.
        names: In any order; each may come more than once.
        into: A file that gets the contents, and that has to stay open for as long as they are needed.

    Raises:
        GitError: If one is not there, or git fails.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    position = into.seek(0, os.SEEK_END)
    scratch_pipe(
        scratch, "cat-file", "--batch", "--buffer", feed=(f"{name}\n".encode("ascii") for name in wanted), into=into
    )
    found = {}
    for name in wanted:
        header = os.pread(into.fileno(), _LONGEST_HEADER, position).partition(b"\n")[0]
        words = header.split(b" ")
        if len(words) != 3 or words[1] != b"blob":  # noqa: PLR2004 - name, kind, size
            msg = f"git cat-file does not know {name}"
            raise GitError(msg)
        size = int(words[2])
        found[name] = Stored(into, position + len(header) + 1, size)
        position += len(header) + 1 + size + 1
    return found
