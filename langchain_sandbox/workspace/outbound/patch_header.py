"""What a patch says of each file: its names, modes and git's names for its contents. Pure.

It reads the patches that `build_patch` makes and no others: strict where git itself is lenient, so that whoever
decides by these headers decides about what git will do. Contents are passed over by their own counts: a file may hold
a patch, and no line of that is ever taken for a header.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["added", "modified", "deleted", "renamed"]

_START = "diff --git "
_TEXT = "--- "
_BINARY = "GIT binary patch"
_NOWHERE = "/dev/null"

# Every header that may follow a file's first line.
_HEADER = re.compile(
    r"""
      old\ mode\ (?P<old_mode>[0-7]{6})
    | new\ mode\ (?P<mode>[0-7]{6})
    | new\ file\ mode\ (?P<added>[0-7]{6})
    | deleted\ file\ mode\ (?P<deleted>[0-7]{6})
    | similarity\ index\ (?P<similarity>[0-9]{1,3})%
    | rename\ from\ (?P<old_name>.+)
    | rename\ to\ (?P<name>.+)
    | index\ (?P<old_blob>[0-9a-f]{40}|[0-9a-f]{64})\.\.(?P<blob>[0-9a-f]{40}|[0-9a-f]{64})
      (?:\ (?P<kept_mode>[0-7]{6}))?
    """,
    re.VERBOSE,
)

_Said = dict[str, str]  # what the headers say, by the names above

_INDEX = frozenset({"old_blob", "blob"})
_KEPT = _INDEX | {"kept_mode"}
_MODES = frozenset({"old_mode", "mode"})
_RENAME = frozenset({"similarity", "old_name", "name"})

# The headers that git writes together, and what happened to the file then.
_KINDS: dict[frozenset[str], Kind] = {
    _INDEX | {"added"}: "added",
    _INDEX | {"deleted"}: "deleted",
    _KEPT: "modified",
    _MODES: "modified",
    _MODES | _INDEX: "modified",
    _RENAME: "renamed",
    _RENAME | _KEPT: "renamed",
    _RENAME | _MODES: "renamed",
    _RENAME | _MODES | _INDEX: "renamed",
}

# Counts of more digits than any file has lines would be slow to read.
_HUNK = re.compile(r"@@ -[0-9]{1,18}(?:,([0-9]{1,18}))? \+[0-9]{1,18}(?:,([0-9]{1,18}))? @@")
_HUNK_LINES = {" ": (1, 1), "-": (1, 0), "+": (0, 1), "\\": (0, 0)}  # lines of the old and the new side

_BINARY_PART = re.compile(r"(?:literal|delta) [0-9]+")
_BINARY_LENGTHS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # a line's first letter: 1 to 52 bytes

# Names as git writes them with core.quotePath: in quotes as soon as one byte is not plain, each such byte escaped.
_LETTER = r"[ !#-\[\]-~]"
_ESCAPE = r'\\(?:([abtnvfr"\\])|((?!000)[0-3][0-7]{2}))'
_PREFIX = len("a/")
_PLAIN = re.compile(rf"[ab]/{_LETTER}+")
_QUOTED = re.compile(rf'"[ab]/(?:{_LETTER}|{_ESCAPE})+"')
_ESCAPES = re.compile(_ESCAPE.encode())
_ESCAPED = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))


class PatchFormatError(ValueError):
    """A patch is not as `build_patch` makes them; the message says at which line, and quotes nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedFile:
    """What a patch does to one file, as far as the patch says.

    Args:
        path: The new path, or the old one of a deleted file; bytes that are not Unicode are surrogate escapes.
        old_path: `None` if the file is new.
        kind: A file that becomes a link, or a link that becomes a file, is modified.
        old_mode: Git's; `None` if there is no such side, and, in a patch as git alone writes it, for a rename that
            changes neither content nor mode.
        mode: Likewise.
        old_blob: Git's full name for the content; `None` if there is no such side, and, in a patch as git alone writes
            it, where the content stays the same.
        blob: Likewise.
    """

    path: str
    old_path: str | None
    kind: Kind
    old_mode: int | None
    mode: int | None
    old_blob: str | None
    blob: str | None


def parse_patch(lines: Iterable[str]) -> list[PatchedFile]:
    """Read what a patch says of each file, in its order.

    Args:
        lines: The patch, split at line feeds and nowhere else, as `io.StringIO` does and `str.splitlines` does not;
            with their line ends or without. They are read once and not kept.

    Raises:
        PatchFormatError: If it is no patch as `build_patch` makes them, or names a path twice.
    """
    reader = _Reader(lines)
    files: list[PatchedFile] = []
    seen: set[str] = set()
    while reader.line is not None:
        start = reader.number
        file = _read_file(reader)
        if files and files[-1].kind == "deleted" and (file.kind, file.path) == ("added", files[-1].path):
            file = _join(files.pop(), file)
        elif file.path in seen:
            _fail(start, "a path that was there before")
        seen.add(file.path)
        files.append(file)
    return files


class _Reader:
    """The line that is to be read next, and its number."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rest = iter(lines)
        self.line: str | None = None
        self.number = 0
        self.advance()

    def advance(self) -> None:
        line = next(self._rest, None)
        self.line = None if line is None else line.removesuffix("\n")
        self.number += 1


def _fail(number: int, why: str) -> NoReturn:
    msg = f"Not a patch of this package's: line {number} is {why}."
    raise PatchFormatError(msg)


def _join(deleted: PatchedFile, added: PatchedFile) -> PatchedFile:
    """One change out of the two that git makes of it where a file becomes a link, or a link a file."""
    return PatchedFile(
        path=added.path,
        old_path=added.path,
        kind="modified",
        old_mode=deleted.old_mode,
        mode=added.mode,
        old_blob=deleted.old_blob,
        blob=added.blob,
    )


def _read_file(reader: _Reader) -> PatchedFile:
    number, line = reader.number, reader.line or ""
    if not line.startswith(_START):
        _fail(number, "neither a header that is known nor the beginning of a file")
    reader.advance()
    said = _read_headers(reader)
    if reader.line is not None and not reader.line.startswith((_START, _TEXT, _BINARY)):
        _fail(reader.number, "neither a header that is known nor a content")
    old, new = labels = _find_labels(line.removeprefix(_START), said, number)
    file = _build_file(said, labels, number)
    # Without an index line the content is the same: what follows then is no content, and no beginning of a file.
    if "blob" in said and reader.line == _BINARY:
        _skip_binary(reader)
    elif "blob" in said and (reader.line or "").startswith(_TEXT):
        _skip_text(reader, _NOWHERE if file.kind == "added" else old, _NOWHERE if file.kind == "deleted" else new)
    return file


def _read_headers(reader: _Reader) -> _Said:
    said: _Said = {}
    while reader.line is not None and (match := _HEADER.fullmatch(reader.line)):
        found = {name: value for name, value in match.groupdict().items() if value is not None}
        if said.keys() & found.keys():
            _fail(reader.number, "a header that was there before")
        said |= found
        reader.advance()
    return said


def _find_labels(names: str, said: _Said, number: int) -> tuple[str, str]:
    """The two names as they are written, `a/` and `b/` included."""
    old, new = _put_before("a/", said.get("old_name", "")), _put_before("b/", said.get("name", ""))
    if not said.keys() & {"old_name", "name"}:
        # Both names are the same, so they are equally long, whatever is in them.
        middle = len(names) // 2
        old, new = names[:middle], names[middle + 1 :]
        if not old.startswith(("a/", '"a/')) or old.replace("a/", "b/", 1) != new:
            _fail(number, "about two names, and there is no rename")
    if names != f"{old} {new}":
        _fail(number, "about other names than those of the rename")
    return old, new


def _put_before(prefix: str, name: str) -> str:
    return f'"{prefix}{name[1:]}' if name.startswith('"') else prefix + name


def _build_file(said: _Said, labels: tuple[str, str], number: int) -> PatchedFile:
    kind = _KINDS.get(frozenset(said))
    if kind is None:
        _fail(number, "followed by headers that do not go together")
    old_blob, blob = _find_blob(said.get("old_blob")), _find_blob(said.get("blob"))
    if "blob" in said and (old_blob is None, blob is None) != (kind == "added", kind == "deleted"):
        _fail(number, f"about a file that is {kind}, and its index says otherwise")
    kept = said.get("kept_mode")
    return PatchedFile(
        path=_read_name(labels[1], number),
        old_path=None if kind == "added" else _read_name(labels[0], number),
        kind=kind,
        old_mode=_find_mode(said.get("deleted") or said.get("old_mode") or kept),
        mode=_find_mode(said.get("added") or said.get("mode") or kept),
        old_blob=old_blob,
        blob=blob,
    )


def _find_blob(name: str | None) -> str | None:
    return name if name and name.strip("0") else None


def _find_mode(mode: str | None) -> int | None:
    return int(mode, 8) if mode else None


def _read_name(label: str, number: int) -> str:
    if _PLAIN.fullmatch(label):
        return label[_PREFIX:]
    if not _QUOTED.fullmatch(label):
        _fail(number, "about a name that git would write otherwise")
    return os.fsdecode(_ESCAPES.sub(_unescape, label[1:-1].encode("ascii")))[_PREFIX:]


def _unescape(match: re.Match[bytes]) -> bytes:
    letter, octal = match.groups()
    return bytes((_ESCAPED[ord(letter)] if letter else int(octal, 8),))


def _skip_text(reader: _Reader, old: str, new: str) -> None:
    for line in (f"{_TEXT}{old}", f"+++ {new}"):
        # Git ends a name that holds a space with a tab.
        if reader.line is None or reader.line.removesuffix("\t") != line:
            _fail(reader.number, "about another name than the file's")
        reader.advance()
    _skip_hunk(reader)
    while reader.line is not None and reader.line.startswith("@@"):
        _skip_hunk(reader)


def _skip_hunk(reader: _Reader) -> None:
    match = _HUNK.match(reader.line or "")
    if not match:
        _fail(reader.number, "no beginning of a hunk")
    old, new = (1 if count is None else int(count) for count in match.groups())
    reader.advance()
    # After the last line there may be one more, to say that it has no end.
    while old or new or (reader.line or "").startswith("\\"):
        of_old, of_new = _HUNK_LINES.get((reader.line or "")[:1], (old + 1, 0))
        if of_old > old or of_new > new:
            _fail(reader.number, "no line of the hunk that is not at its end yet")
        old, new = old - of_old, new - of_new
        reader.advance()


def _skip_binary(reader: _Reader) -> None:
    """Pass over the new content and the old one, each as lines of base 85 that an empty line ends."""
    reader.advance()
    for _ in range(2):
        if not _BINARY_PART.fullmatch(reader.line or ""):
            _fail(reader.number, "no beginning of a binary content")
        reader.advance()
        while reader.line:
            size = _BINARY_LENGTHS.find(reader.line[0]) + 1
            if not size or len(reader.line) != 1 + 5 * -(-size // 4):
                _fail(reader.number, "no line of a binary content")
            reader.advance()
        if reader.line is None:
            _fail(reader.number, "missing: a binary content is not at its end yet")
        reader.advance()
