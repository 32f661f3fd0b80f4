"""Git's index as a file: what is tracked, with the files' times, so that git need not read them all to know them. Pure.

Written here and not by git, which could only learn the times by reading every file; the host has told which files are
as the index says. The format is git's own, `Documentation/gitformat-index.txt`.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ASSUME_UNCHANGED = 0x8000
INTENT_TO_ADD = 0x2000
SKIP_WORKTREE = 0x4000

_EXTENDED = 0x4000
_STAGE_SHIFT = 12
_NAME_MASK = 0xFFF
_LOW = 0xFFFFFFFF
_BILLION = 1_000_000_000

# ctime, mtime (seconds and nanoseconds each), device, inode, mode, uid, gid, size, name of the content, flags
_ENTRY = struct.Struct(">10I20sH")
_MORE_FLAGS = struct.Struct(">H")
_HEADER = struct.Struct(">4sII")


@dataclass(slots=True)
class IndexEntry:
    """One tracked path.

    Args:
        path: As bytes.
        mode: Git's mode.
        blob: The content's name, in hexadecimal.
        stage: 0, or the side of a conflict.
        flag: `ASSUME_UNCHANGED`, of the first kind of flags.
        more_flags: `SKIP_WORKTREE` and `INTENT_TO_ADD`, of the second kind.
        seen: The file's mode, size, mtime and ctime in nanoseconds, and inode, if its content is known to be this one.
    """

    path: bytes
    mode: int
    blob: str
    stage: int = 0
    flag: int = 0
    more_flags: int = 0
    seen: tuple[int, ...] | None = None


def build_index(entries: Iterable[IndexEntry], *, device: int, uid: int, gid: int) -> bytes:
    """The file's bytes.

    Args:
        entries: In any order.
        device: Of all the files.
        uid: As above.
        gid: As above.
    """
    ordered = sorted(entries, key=lambda entry: (entry.path, entry.stage))
    version = 3 if any(entry.more_flags for entry in ordered) else 2
    parts = [_HEADER.pack(b"DIRC", version, len(ordered))]
    for entry in ordered:
        flags = min(len(entry.path), _NAME_MASK) | entry.stage << _STAGE_SHIFT | entry.flag
        if entry.more_flags:
            flags |= _EXTENDED
        if entry.seen is not None:
            _, size, mtime, ctime, inode = entry.seen
            times = (
                *(ctime // _BILLION & _LOW, ctime % _BILLION, mtime // _BILLION & _LOW, mtime % _BILLION),
                *(device & _LOW, inode & _LOW, entry.mode, uid, gid, size & _LOW),
            )
        else:
            times = (0, 0, 0, 0, 0, 0, entry.mode, 0, 0, 0)
        head = _ENTRY.pack(*times, bytes.fromhex(entry.blob), flags)
        if entry.more_flags:
            head += _MORE_FLAGS.pack(entry.more_flags)
        length = len(head) + len(entry.path)
        parts.append(head + entry.path + bytes(8 - length % 8))
    content = b"".join(parts)
    return content + hashlib.sha1(content, usedforsecurity=False).digest()
