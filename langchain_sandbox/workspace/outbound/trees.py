"""Trees of our own in a scratch repository: what git makes differences of, and applies patches to."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from typing import TYPE_CHECKING, TypeAlias

from langchain_sandbox.workspace.content import Content, blob_name, measure, pieces
from langchain_sandbox.workspace.git import scratch_pipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Side: TypeAlias = tuple[int, Content]
"""Mode and content of one path."""

_FOLDER = 0o40000
_TREE, _BLOB = 2, 3  # kinds of objects in a pack
_VERSION = 2
_Folder: TypeAlias = "dict[bytes, _Folder | tuple[int, str]]"


def write_trees(scratch: Path, *trees: Mapping[str, Side]) -> list[str]:
    """Put trees into a scratch repository, and return git's names for them.

    They go in as a pack that is made here: by `git mktree` each folder would become a file, and `git fast-import` looks
    through a folder from its beginning for each file that it puts there.

    Args:
        scratch: The repository.
        trees: Each by path.

    Raises:
        GitError: If git fails.
    """
    contents: dict[str, Content] = {}
    folders: dict[str, bytes] = {}
    names = [_add_folder(_nest(tree, contents), folders) for tree in trees]
    scratch_pipe(scratch, "-c", "core.fsync=none", "index-pack", "--stdin", feed=_build_pack(contents, folders))
    return names


def _nest(tree: Mapping[str, Side], contents: dict[str, Content]) -> _Folder:
    """The same with each folder for itself; the contents are noted by git's names for them."""
    root: _Folder = {}
    for path, (mode, content) in tree.items():
        *above, name = os.fsencode(path).split(b"/")
        folder = root
        for part in above:
            inner = folder.setdefault(part, {})
            assert isinstance(inner, dict)  # noqa: S101 - no path lies below a file
            folder = inner
        blob = blob_name(content)
        contents[blob] = content
        folder[name] = (mode, blob)
    return root


def _add_folder(folder: _Folder, folders: dict[str, bytes]) -> str:
    """Note a folder as git keeps it, and all in it, and return git's name for it."""
    entries = []
    for name, entry in folder.items():
        mode, blob = (_FOLDER, _add_folder(entry, folders)) if isinstance(entry, dict) else entry
        # Git sorts folders as if their names ended in a slash.
        entries.append((name + b"/" if mode == _FOLDER else name, b"%o %b\0%b" % (mode, name, bytes.fromhex(blob))))
    content = b"".join(entry for _, entry in sorted(entries))
    tree = hashlib.sha1(b"tree %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()
    folders[tree] = content
    return tree


def _build_pack(contents: Mapping[str, Content], folders: Mapping[str, bytes]) -> Iterator[bytes]:
    digest = hashlib.sha1(usedforsecurity=False)
    for piece in _build_objects(contents, folders):
        digest.update(piece)
        yield piece
    yield digest.digest()


def _build_objects(contents: Mapping[str, Content], folders: Mapping[str, bytes]) -> Iterator[bytes]:
    yield struct.pack(">4sII", b"PACK", _VERSION, len(contents) + len(folders))
    for kind, objects in ((_BLOB, contents), (_TREE, folders)):
        for content in objects.values():
            yield _build_header(kind, measure(content))
            squeeze = zlib.compressobj(0)  # it is read once, and soon
            for piece in pieces(content):
                yield squeeze.compress(piece)
            yield squeeze.flush()


def _build_header(kind: int, size: int) -> bytes:
    """An object's kind and size: four bits of the size, then seven in each byte, the lowest first."""
    head = [kind << 4 | size & 0xF]
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head)
