"""Headers of a tar archive. Pure.

`tarfile` makes the same ones, and takes longer for one than reading the file does.
"""

from __future__ import annotations

import struct

BLOCK = 512

FILE_TYPE = b"0"
LINK_TYPE = b"2"

_LONG_NAME = b"L"
_LONG_TARGET = b"K"
_MAX_NAME = 99  # and a NUL
_MAX_OCTAL = 8**11

# name, mode, uid, gid, size, mtime, checksum, type, target, magic of the GNU format, owner and group, padding
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s64s183s")
_NO_ID = b"0000000\0"
_NO_SUM = b" " * 8
_MAGIC = b"ustar  \0"


def build_header(
    name: bytes, *, mtime: int, size: int = 0, mode: int = 0o777, kind: bytes = FILE_TYPE, target: bytes = b""
) -> bytes:
    """What stands before a file's content, in the GNU format, which takes names of any bytes and any length.

    Args:
        name: The path.
        mtime: Seconds since 1970.
        size: Bytes of content.
        mode: Permission bits.
        kind: `FILE_TYPE` or `LINK_TYPE`.
        target: Where a link points to.
    """
    long = b""
    for text, long_kind in ((target, _LONG_TARGET), (name, _LONG_NAME)):
        if len(text) > _MAX_NAME:
            content = text + b"\0"
            long += (
                _build(b"././@LongLink", 0, len(content), 0, long_kind, b"") + content + bytes(-len(content) % BLOCK)
            )
    return long + _build(name[:100], mode, size, max(0, min(mtime, _MAX_OCTAL - 1)), kind, target[:100])


def _build(name: bytes, mode: int, size: int, mtime: int, kind: bytes, target: bytes) -> bytes:
    # A size that octal digits cannot tell is binary in this format.
    sized = b"%011o\0" % size if size < _MAX_OCTAL else b"\x80" + size.to_bytes(11, "big")
    header = _HEADER.pack(
        name, b"%07o\0" % mode, _NO_ID, _NO_ID, sized, b"%011o\0" % mtime, _NO_SUM, kind, target, _MAGIC, b"", b""
    )
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]
