"""Contents of files: in memory where they are short, else a piece of an open file, and never read whole."""

from __future__ import annotations

import codecs
import hashlib
import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """A content that is a part of an open file.

    Args:
        file: The file; it stays open for as long as the content is needed.
        offset: Where the content begins, in bytes.
        size: Bytes.
    """

    file: IO[bytes]
    offset: int
    size: int


Content: TypeAlias = bytes | Stored


def measure(content: Content) -> int:
    """Its bytes."""
    return len(content) if isinstance(content, bytes) else content.size


def pieces(content: Content) -> Iterator[bytes]:
    """All of it, in order."""
    if isinstance(content, bytes):
        yield content
        return
    descriptor, end = content.file.fileno(), content.offset + content.size
    for start in range(content.offset, end, CHUNK):
        yield os.pread(descriptor, min(CHUNK, end - start), start)


def save(content: Content, path: Path) -> None:
    """Write it down as a file of its own.

    Raises:
        OSError: If it cannot be written.
    """
    with path.open("wb") as file:
        file.writelines(pieces(content))


def append(content: Content, into: IO[bytes]) -> Stored:
    """Copy it to the end of an open file, which has to stay open for as long as the copy is needed."""
    offset = into.seek(0, os.SEEK_END)
    into.writelines(pieces(content))
    into.flush()
    return Stored(into, offset, measure(content))


def read_start(content: Content, limit: int) -> bytes:
    """Its first bytes."""
    if isinstance(content, bytes):
        return content[:limit]
    return os.pread(content.file.fileno(), min(limit, content.size), content.offset)


def blob_name(content: Content) -> str:
    """Git's name for it."""
    digest = hashlib.sha1(b"blob %d\0" % measure(content), usedforsecurity=False)
    for piece in pieces(content):
        digest.update(piece)
    return digest.hexdigest()


def is_text(content: Content) -> bool:
    """Whether it is UTF-8 throughout."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in pieces(content):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
