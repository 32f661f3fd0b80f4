"""Trees of our own in a scratch repository: what git makes differences of, and applies patches to."""

from __future__ import annotations

import hashlib
import itertools
import os
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from langchain_sandbox.workspace.content import Content, blob_name, measure, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Side: TypeAlias = tuple[int, Content]
"""Mode and content of one path."""

_FOLDER = 0o40000
_TREE, _BLOB = 2, 3  # kinds of objects in a pack
_VERSION = 2
_FAR = 2**31  # places in a pack from here on are written in a table of their own
_IN_TABLE = 2**31
_Folder: TypeAlias = "dict[bytes, _Folder | tuple[int, str]]"


class _Packed(NamedTuple):
    """One object of a pack: its name, where it begins, and the checksum of its bytes there."""

    name: bytes
    at: int
    check: int


def write_trees(scratch: Path, *trees: Mapping[str, Side]) -> list[str]:
    """Put trees into a scratch repository, and return git's names for them.

    They go in as a pack that is made here, with its index: by `git mktree` each folder would become a file, and `git
    fast-import` looks through a folder from its beginning for each file that it puts there.

    Args:
        scratch: The repository.
        trees: Each by path.

    Raises:
        OSError: If they cannot be written.
    """
    contents: dict[str, Content] = {}
    folders: dict[str, bytes] = {}
    names = [_add_folder(_nest(tree, contents), folders) for tree in trees]
    if contents or folders:
        _write_pack(scratch / "objects" / "pack", contents, folders)
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


def _write_pack(place: Path, contents: Mapping[str, Content], folders: Mapping[str, bytes]) -> None:
    place.mkdir(exist_ok=True)
    digest = hashlib.sha1(usedforsecurity=False)
    found: list[_Packed] = []
    with (place / "pack-new.pack").open("xb") as file:

        def write(piece: bytes) -> None:
            digest.update(piece)
            file.write(piece)

        write(struct.pack(">4sII", b"PACK", _VERSION, len(contents) + len(folders)))
        for kind, objects in ((_BLOB, contents), (_TREE, folders)):
            for name, content in objects.items():
                at, check = file.tell(), 0
                for piece in _build_object(kind, content):
                    check = zlib.crc32(piece, check)
                    write(piece)
                found.append(_Packed(bytes.fromhex(name), at, check))
        file.write(digest.digest())
    name = f"pack-{digest.hexdigest()}"
    (place / "pack-new.pack").rename(place / f"{name}.pack")
    # Last, since a pack is there for git once its index is.
    (place / f"{name}.idx").write_bytes(_build_pack_index(found, digest.digest()))


def _build_object(kind: int, content: Content) -> Iterator[bytes]:
    yield _build_header(kind, measure(content))
    squeeze = zlib.compressobj(0)  # it is read once, and soon
    for piece in pieces(content):
        yield squeeze.compress(piece)
    yield squeeze.flush()


def _build_pack_index(found: Iterable[_Packed], digest: bytes) -> bytes:
    """Where each object is in a pack, as git keeps it: `Documentation/gitformat-pack.txt`. Pure."""
    ordered = sorted(found)
    counts = [0] * 256
    for packed in ordered:
        counts[packed.name[0]] += 1
    far = [packed.at for packed in ordered if packed.at >= _FAR]
    numbers = iter(range(len(far)))
    places = [packed.at if packed.at < _FAR else _IN_TABLE | next(numbers) for packed in ordered]
    content = b"".join(
        (
            struct.pack(">4sI", b"\xfftOc", _VERSION),
            struct.pack(">256I", *itertools.accumulate(counts)),
            *(packed.name for packed in ordered),
            struct.pack(f">{len(ordered)}I", *(packed.check for packed in ordered)),
            struct.pack(f">{len(ordered)}I", *places),
            struct.pack(f">{len(far)}Q", *far),
            digest,
        )
    )
    return content + hashlib.sha1(content, usedforsecurity=False).digest()


def _build_header(kind: int, size: int) -> bytes:
    """An object's kind and size: four bits of the size, then seven in each byte, the lowest first."""
    head = [kind << 4 | size & 0xF]
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head)
