"""What a container says it changed: received within limits, checked path by path, compared with the snapshot."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_sandbox.link import Data, End, LinkEvent, Message
from langchain_sandbox.workspace.paths import (
    belongs_to_git_folder,
    find_fault,
    find_git_folders,
    find_link_fault,
    is_masked,
    parents,
)
from langchain_sandbox.workspace.snapshot import EXECUTABLE, FILE, SYMLINK, Snapshot, blob_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_sandbox.config import Limits

_MAX_CHANGES = 100_000
_MAX_SKIPPED = 100


@dataclass(frozen=True, slots=True)
class Change:
    """The new state of one path; without a mode it is deleted."""

    path: str
    mode: int | None
    content: bytes = b""


@dataclass(slots=True)
class _Arriving:
    change: Change
    offset: int
    size: int = 0


class Changes:
    """Takes what arrives on the FILES channel and keeps the contents in an anonymous temporary file.

    Args:
        limits: `changes` bounds the bytes that are kept.
    """

    def __init__(self, limits: Limits) -> None:
        self._room = limits.size("changes")
        self._spool = tempfile.TemporaryFile(prefix="langchain-sandbox-")  # noqa: SIM115 - closed in `close`
        self._arriving: dict[int, _Arriving] = {}
        self._arrived: dict[str, _Arriving] = {}
        self.skipped: list[str] = []

    def take(self, batch: Iterable[LinkEvent]) -> None:
        """Write down what the container says; blocks for as long as the disk does."""
        for event in batch:
            match event:
                case Message(stream=stream, body=body):
                    self._begin(stream, body)
                case Data(stream=stream, payload=payload):
                    self._keep(stream, payload)
                case End(stream=stream):
                    arriving = self._arriving.pop(stream, None)
                    if arriving is not None:
                        self._arrived[arriving.change.path] = arriving
                case _:
                    pass

    def settle(self, snapshot: Snapshot) -> list[Change]:
        """The changes that are real and allowed, in order of their paths; the others are in `skipped`."""
        self._spool.flush()
        changes = []
        for path, arrived in sorted(self._arrived.items()):
            change = self._load(arrived)
            before = snapshot.entries.get(path)
            if change.mode is None and before is None:
                continue
            if before and change.mode == before.mode and blob_name(change.content) == before.blob:
                continue
            changes.append(change)
        return self._drop_conflicts(changes, snapshot)

    def close(self) -> None:
        """Let the contents go."""
        self._spool.close()

    def _keep(self, stream: int, payload: bytes) -> None:
        arriving = self._arriving.get(stream)
        if arriving is None:
            return
        fault = None
        if len(payload) > self._room:
            fault = "over the limit for changes (Limits.changes)"
        # One file at a time: a stream that is interleaved with another would mix their contents.
        elif self._spool.seek(0, os.SEEK_END) != arriving.offset + arriving.size:
            fault = "its content came in disorder"
        if fault is not None:
            self._skip(arriving.change.path, fault)
            del self._arriving[stream]
            return
        self._spool.write(payload)
        self._room -= len(payload)
        arriving.size += len(payload)

    def _begin(self, stream: int, body: dict[str, Any]) -> None:
        if body.get("type") != "change" or stream in self._arriving:
            return
        path = _normal(body.get("path"))
        if path is None:
            self._skip(str(body.get("path")), "not a file's name")
            return
        fault = find_fault(path)
        if fault is None and is_masked(path):
            fault = "would configure OpenCode itself"
        if fault is None and len(self._arrived) + len(self._arriving) >= _MAX_CHANGES:
            fault = f"more than {_MAX_CHANGES} changes"
        change = _parse_change(path, body)
        if fault is None and change is not None and change.mode == SYMLINK:
            fault = find_link_fault(path, change.content)
        if fault is not None or change is None:
            self._skip(path, fault or "of an unknown kind")
            return
        self._spool.seek(0, os.SEEK_END)
        self._arriving[stream] = _Arriving(change, self._spool.tell())

    def _load(self, arrived: _Arriving) -> Change:
        change = arrived.change
        if change.mode in {FILE, EXECUTABLE}:
            content = os.pread(self._spool.fileno(), arrived.size, arrived.offset)
            return Change(change.path, change.mode, content)
        return change

    def _drop_conflicts(self, changes: list[Change], snapshot: Snapshot) -> list[Change]:
        """Take out what cannot be a tree, such as a file below a link, and what would be a repository."""
        after = set(snapshot.entries) | {change.path for change in changes if change.mode is not None}
        after -= {change.path for change in changes if change.mode is None}
        kept = []
        for change in changes:
            if change.mode is not None and any(parent in after for parent in parents(change.path)):
                self._skip(change.path, "below a path that is a file or a link")
                after.discard(change.path)
            else:
                kept.append(change)
        folders = {parent for path in after for parent in parents(path)}
        repositories = find_git_folders(after | folders)
        fitting = []
        for change in kept:
            if change.mode is not None and change.path in folders:
                self._skip(change.path, "in the place of a folder that stays")
            elif change.mode is not None and belongs_to_git_folder(change.path, repositories):
                self._skip(change.path, "git would take its folder for a repository")
            else:
                fitting.append(change)
        return fitting

    def _skip(self, path: str, reason: str) -> None:
        if len(self.skipped) < _MAX_SKIPPED:
            self.skipped.append(f"{path[:200]!r}: {reason}")


def _normal(name: object) -> str | None:
    """A name as this system writes it; `None` if no file can have it."""
    if not isinstance(name, str):
        return None
    try:
        return os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None


def _parse_change(path: str, body: dict[str, Any]) -> Change | None:
    match body:
        case {"kind": "file", "executable": bool(executable)}:
            return Change(path, EXECUTABLE if executable else FILE)
        case {"kind": "symlink", "target": str(target)} if target and "\0" not in target and (name := _normal(target)):
            return Change(path, SYMLINK, os.fsencode(name))
        case {"kind": "deleted"}:
            return Change(path, None)
        case _:
            return None
