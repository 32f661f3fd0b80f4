"""Trees of our own in a scratch repository: what git makes differences of, and applies patches to."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, TypeAlias

from langchain_sandbox.workspace.content import Content, blob_name, measure, pieces
from langchain_sandbox.workspace.git import scratch_pipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Side: TypeAlias = tuple[int, Content]
"""Mode and content of one path."""

_FOLDER = 0o40000
_Folder: TypeAlias = "dict[bytes, _Folder | tuple[int, str]]"


def write_trees(scratch: Path, *trees: Mapping[str, Side]) -> list[str]:
    """Put trees into a scratch repository, and return git's names for them.

    Args:
        scratch: The repository.
        trees: Each by path.

    Raises:
        GitError: If git fails.
    """
    # Without the second setting git would make a file of each content, and with the third wait for the disk.
    settings = ("-c", "core.compression=0", "-c", "fastimport.unpackLimit=0", "-c", "core.fsync=none")
    scratch_pipe(scratch, *settings, "fast-import", "--quiet", "--depth=0", feed=_build_blobs(trees))
    # Not by fast-import, which looks through a folder from its beginning for each file that it puts there.
    told: list[bytes] = []
    names = [_add_folder(_nest(tree), told) for tree in trees]
    scratch_pipe(scratch, *settings, "mktree", "-z", "--batch", "--missing", feed=told)
    return names


def _build_blobs(trees: tuple[Mapping[str, Side], ...]) -> Iterator[bytes]:
    for tree in trees:
        for _, content in tree.values():
            yield b"blob\ndata %d\n" % measure(content)
            yield from pieces(content)
            yield b"\n"


def _nest(tree: Mapping[str, Side]) -> _Folder:
    """The same with each folder for itself."""
    root: _Folder = {}
    for path, (mode, content) in tree.items():
        *above, name = os.fsencode(path).split(b"/")
        folder = root
        for part in above:
            inner = folder.setdefault(part, {})
            assert isinstance(inner, dict)  # noqa: S101 - no path lies below a file
            folder = inner
        folder[name] = (mode, blob_name(content))
    return root


def _add_folder(folder: _Folder, told: list[bytes]) -> str:
    """Tell `git mktree` of a folder, those inside first, and return the name that it will have."""
    lines, entries = [], []
    for name, entry in folder.items():
        mode, blob = (_FOLDER, _add_folder(entry, told)) if isinstance(entry, dict) else entry
        kind = b"tree" if mode == _FOLDER else b"blob"
        lines.append(b"%06o %b %b\t%b\0" % (mode, kind, blob.encode("ascii"), name))
        # Git sorts folders as if their names ended in a slash.
        entries.append((name + b"/" if mode == _FOLDER else name, b"%o %b\0%b" % (mode, name, bytes.fromhex(blob))))
    told.append(b"".join(lines) + b"\0")
    content = b"".join(entry for _, entry in sorted(entries))
    return hashlib.sha1(b"tree %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()
