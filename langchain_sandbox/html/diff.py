"""Reads a patch as people read it: which line is what, where it stands, and which file it belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_KINDS: Final = {"+": "add", "-": "del", "\\": "faint"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a patch.

    Args:
        kind: `file`, `hunk`, `add`, `del`, `same`, or `faint` for what is about the patch itself.
        text: All of it, its sign included.
        old: Its number before the change, if it was there.
        new: Its number after the change, if it is there.
    """

    kind: str
    text: str
    old: int | None = None
    new: int | None = None


@dataclass(slots=True)
class FileDiff:
    """The lines of one file.

    Args:
        header: The line that begins it.
        lines: The first ones of the others.
        count: How many there are in all.
    """

    header: str
    lines: list[Line] = field(default_factory=list)
    count: int = 0


def read_lines(texts: Iterable[str]) -> Iterator[Line]:
    """Tell each line of a patch.

    The counts of its hunk decide what a line is: a removed `-- x` reads like the `--- x` of a header.

    Args:
        texts: The lines, without their ends.
    """
    old_left = new_left = old = new = 0
    for text in texts:
        if old_left > 0 or new_left > 0:
            kind = _KINDS.get(text[:1], "same")
            was, is_there = kind in {"del", "same"}, kind in {"add", "same"}
            yield Line(kind, text, old if was else None, new if is_there else None)
            old, old_left = old + was, old_left - was
            new, new_left = new + is_there, new_left - is_there
        elif hunk := _HUNK.match(text):
            old, old_left, new, new_left = (int(number) for number in hunk.groups(default="1"))
            yield Line("hunk", text)
        else:
            yield Line("file" if text.startswith("diff --git ") else "faint", text)


def split_lines(patch: str) -> list[str]:
    """The lines of a patch; a line ends at a line feed and nowhere else."""
    return patch.removesuffix("\n").split("\n") if patch else []


def split_files(patch: str, most: int) -> list[FileDiff]:
    """A patch, file by file. What stands before the first file is left out.

    Args:
        patch: The text, for `git apply`.
        most: How many lines are held of a file; a patch that no run's folder holds is as long as it is.
    """
    files: list[FileDiff] = []
    for line in read_lines(split_lines(patch)):
        if line.kind == "file":
            # A file that becomes a symbolic link is removed and added: two parts with one header, and one file.
            if not files or files[-1].header != line.text:
                files.append(FileDiff(line.text))
        elif files:
            files[-1].count += 1
            if len(files[-1].lines) < most:
                files[-1].lines.append(line)
    return files
