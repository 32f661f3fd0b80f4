"""The patch: made by git from two trees of our own, in a scratch repository that no container has written to.

Only the changed paths are in those trees, so the cost goes with the change and not with the repository.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, TYPE_CHECKING

from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.content import CHUNK, Content, Stored, is_text, measure, pieces, read_start
from langchain_sandbox.workspace.git import scratch_pipe, scratch_repository
from langchain_sandbox.workspace.outbound.risks import Risk, find_risks
from langchain_sandbox.workspace.outbound.trees import Side, write_trees
from langchain_sandbox.workspace.paths import parents

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from langchain_sandbox.workspace.inbound.snapshot import Snapshot
    from langchain_sandbox.workspace.outbound.changes import Change

_DIFF = ("-c", "diff.renameLimit=2000", "-c", "core.compression=1", "diff-tree", "-r", "--no-ext-diff", "--no-textconv")
_ALL = ("--raw", "--numstat", "-z", "-p", "--binary", "--full-index")
_KINDS = {"A": "added", "M": "modified", "D": "deleted", "R": "renamed", "T": "modified"}

_SPACE = 0x20
_MAX_ATTRIBUTE = 2000
_SCANNED = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One changed path; the result's part of the same name, as plain data. Sizes are bytes."""

    path: str
    kind: str
    old_path: str | None = None
    size: int | None = None
    old_size: int | None = None
    mode: str | None = None
    insertions: int = 0
    deletions: int = 0
    binary: bool = False
    risks: list[Risk] = field(default_factory=list)


@dataclass(frozen=True)
class Patch:
    """A patch for `git apply`, and what is in it.

    Args:
        content: The patch; UTF-8 throughout.
        files: The changed paths.
    """

    content: Content = b""
    files: list[FileChange] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it."""
        return b"".join(pieces(self.content)).decode("utf-8")

    @property
    def size(self) -> int:
        """Bytes."""
        return measure(self.content)

    @cached_property
    def sha256(self) -> str:
        """Its digest; empty for an empty patch."""
        digest = hashlib.sha256()
        for piece in pieces(self.content):
            digest.update(piece)
        return digest.hexdigest() if self.size else ""

    def close(self) -> None:
        """Let the content go."""
        if isinstance(self.content, Stored):
            self.content.file.close()


def build_patch(snapshot: Snapshot, changes: list[Change]) -> Patch:
    """Tell the changes against the snapshot.

    Raises:
        GitError: If git fails, which only a full disk should make it do.
    """
    if not changes:
        return Patch()
    before = {
        change.path: (entry.mode, snapshot.read(entry))
        for change in changes
        if (entry := snapshot.entries.get(change.path)) is not None
    }
    after = {change.path: (change.mode, change.content) for change in changes if change.mode is not None}
    file: IO[bytes] = tempfile.TemporaryFile(prefix="langchain-sandbox-")  # noqa: SIM115 - the patch owns it
    try:
        with scratch_repository() as scratch:
            sides = write_trees(scratch, before, after)
            _mark_binary(scratch, before, after)
            renames = "-M" if _may_rename(before, after) else "--no-renames"
            scratch_pipe(scratch, *_DIFF, renames, *_ALL, *sides, into=file)
        raw = _read_records(file)
        begin = len(raw) + 1 if raw else 0  # between the records and the patch is one NUL more
        if unsaid := _find_unsaid(raw):
            with file as told:
                file, begin = _say(told, begin, unsaid), 0
        content = Stored(file, begin, file.seek(0, os.SEEK_END) - begin)
        return Patch(content, _parse_files(raw, before, after))
    except BaseException:
        file.close()
        raise


def _quote(path: str) -> bytes:
    """A path as attribute files take it, whatever bytes it is of."""
    plain = (b"\\%03o" % byte if byte <= _SPACE or byte in b'"\\' else bytes((byte,)) for byte in os.fsencode(path))
    return b'"' + b"".join(plain) + b'"'


def _may_rename(before: Mapping[str, Side], after: Mapping[str, Side]) -> bool:
    """Not where a file or link makes room for a folder: git cannot apply its own patch of that as a rename."""
    return not any(parent in before and parent not in after for path in after for parent in parents(path))


def _mark_binary(scratch: Path, *trees: Mapping[str, Side]) -> None:
    """Have contents that are not UTF-8 go as binary, so that the patch as a whole is text."""
    lines = []
    for path in sorted(set().union(*trees)):
        if not all(is_text(tree[path][1]) for tree in trees if path in tree):
            escaped = "".join(f"\\{letter}" if letter in "*?[\\" else letter for letter in path)
            lines.append(_quote(f"/{escaped}") + b" -diff\n")
    if any(len(line) > _MAX_ATTRIBUTE for line in lines):
        lines = [b"* -diff\n"]  # git passes over longer lines
    (scratch / "info" / "attributes").write_bytes(b"".join(lines))


def _read_records(file: IO[bytes]) -> bytes:
    """The records before the patch: `--raw` and `--numstat`, each field with a NUL behind it."""
    file.seek(0)
    fields: list[bytes] = []
    rest = b""
    while piece := file.read(CHUNK):
        *more, rest = (rest + piece).split(b"\0")
        for at, item in enumerate(more):
            if not item:  # no field is empty
                return b"".join(item + b"\0" for item in (*fields, *more[:at]))
        fields += more
    return b"".join(item + b"\0" for item in fields)


def _find_unsaid(raw: bytes) -> list[bytes]:
    """The index lines that git leaves out, where a content stays and only its name or mode changes."""
    lines = []
    fields = iter(raw.split(b"\0"))
    # The counts come last; until then a field that begins so is no name, since names are passed over.
    while (item := next(fields)).startswith(b":"):
        old_mode, mode, old_blob, blob, letter = item[1:].split(b" ")
        for _ in range(2 if letter.startswith(b"R") else 1):
            next(fields)
        if old_blob == blob and letter != b"T":  # of a link that becomes a file git makes two, with all that is said
            lines.append(b"index %b..%b%b\n" % (blob, blob, b" " + mode if mode == old_mode else b""))
    return lines


def _say(told: IO[bytes], begin: int, unsaid: list[bytes]) -> IO[bytes]:
    """The same patch with these lines in their places, so that whoever applies it knows which content is meant."""
    file = tempfile.TemporaryFile(prefix="langchain-sandbox-")  # noqa: SIM115 - the patch owns it
    try:
        missing = iter(unsaid)
        told.seek(begin)
        waits, begins = False, True
        # No line of a content begins like these: those of a text begin with a sign, those of a binary hold no space.
        while line := told.readline(CHUNK):
            if begins and line.startswith(b"diff --git "):
                if waits:
                    file.write(next(missing))
                waits = True
            elif begins and line.startswith(b"index "):
                waits = False
            file.write(line)
            begins = line.endswith(b"\n")
        if waits:
            file.write(next(missing))
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _parse_files(raw: bytes, before: Mapping[str, Side], after: Mapping[str, Side]) -> list[FileChange]:
    """Read `--raw --numstat -z`: first all raw records, then all counts."""
    fields = iter(raw.decode("utf-8", "surrogateescape").split("\0"))
    found: list[tuple[str, str | None, str]] = []
    counts: dict[str, tuple[int, int] | None] = {}
    for item in fields:
        if item.startswith(":"):
            letter = item.split(" ")[4][0]
            old = next(fields) if letter == "R" else None
            found.append((letter, old, next(fields)))
        elif item:
            added, removed, path = item.split("\t", 2)
            if not path:  # a rename: the two names follow
                next(fields)
                path = next(fields)
            counts[path] = None if added == "-" else (int(added), int(removed))
    return [_build_file(*each, counts.get(each[2]), before, after) for each in found]


def _build_file(
    letter: str,
    old: str | None,
    path: str,
    count: tuple[int, int] | None,
    before: Mapping[str, Side],
    after: Mapping[str, Side],
) -> FileChange:
    was, now = before.get(old or path), after.get(path)
    risks = find_risks(
        path,
        mode=now[0] if now else None,
        old_mode=was[0] if was else None,
        content=read_start(now[1], _SCANNED) if now else b"",
        old_content=read_start(was[1], _SCANNED) if was else b"",
        size=measure(now[1]) if now else 0,
    )
    if old is not None:
        risks += find_risks(old, mode=None, old_mode=was[0] if was else None, content=b"", old_content=b"", size=0)
    return FileChange(
        path=clean_name(path),
        kind=_KINDS.get(letter, "modified"),
        old_path=clean_name(old) if old else None,
        size=measure(now[1]) if now else None,
        old_size=measure(was[1]) if was else None,
        mode=f"{now[0]:o}" if now else None,
        insertions=count[0] if count else 0,
        deletions=count[1] if count else 0,
        binary=count is None,
        risks=sorted(set(risks)),
    )
