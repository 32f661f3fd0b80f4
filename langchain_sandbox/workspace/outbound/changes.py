"""What a container says it changed: received within limits, checked path by path, compared with the snapshot."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

from langchain_sandbox.link import Data, End, LinkEvent, Message
from langchain_sandbox.workspace.content import Content, Stored, blob_name, is_text
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK, Snapshot
from langchain_sandbox.workspace.paths import (
    belongs_to_git_folder,
    find_fault,
    find_git_folders,
    find_link_fault,
    is_masked,
    parents,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from langchain_sandbox.config import Limits

_MAX_CHANGES = 100_000
_MAX_SKIPPED = 100


@dataclass(frozen=True, slots=True)
class Change:
    """The new state of one path; without a mode it is deleted."""

    path: str
    mode: int | None
    content: Content = b""


@dataclass(slots=True)
class _Arriving:
    change: Change | None  # None is the bundle of commits
    offset: int
    size: int = 0


class Changes:
    """Takes what arrives on the FILES channel and keeps the contents in an anonymous temporary file.

    A path may come more than once, while the agent works on it; what came last counts.

    Args:
        limits: `changes` bounds the bytes that count, and that are written down beyond them.
    """

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.size("changes")
        self._room = 3 * self._limit  # the files at last, on the way there, and the commits
        self._live = 0
        self._bundle: _Arriving | None = None
        self._arriving: dict[int, _Arriving] = {}
        self._arrived: dict[str, _Arriving] = {}
        self.skipped: list[str] = []
        self.lost: OSError | None = None
        """Why something could not be written down; the others are there."""

    def take(self, batch: Iterable[LinkEvent]) -> None:
        """Write down what the container says; blocks for as long as the disk does."""
        for event in batch:
            try:
                self._take(event)
            except OSError as error:
                self.lost = self.lost or error
                self._give_up(event.stream)

    def _take(self, event: LinkEvent) -> None:
        match event:
            case Message(stream=stream, body=body):
                self._begin(stream, body)
            case Data(stream=stream, payload=payload):
                self._keep(stream, payload)
            case End(stream=stream):
                self._finish(self._arriving.pop(stream, None))
            case _:
                pass

    def settle(self, snapshot: Snapshot) -> list[Change]:
        """The changes that are real and allowed, in order of their paths; the others are in `skipped`."""
        changes = []
        for path, arrived in sorted(self._arrived.items()):
            change = self._load(arrived)
            before = snapshot.entries.get(path)
            if change is None or (change.mode is None and before is None):
                continue
            if before and change.mode == before.mode and blob_name(change.content) == before.blob:
                continue
            if before and before.target is not None and not is_text(before.target):
                self._skip(path, "was a link to a name that is not UTF-8, which no patch can hold")
                continue
            changes.append(change)
        return drop_misfits(changes, snapshot, skip=self._skip)

    @property
    def bundle(self) -> Content | None:
        """The new commits, as `git bundle` wrote them."""
        return None if self._bundle is None else Stored(self._spool, self._bundle.offset, self._bundle.size)

    def close(self) -> None:
        """Let the contents go."""
        if "_spool" in self.__dict__:
            self._spool.close()

    @cached_property
    def _spool(self) -> IO[bytes]:
        """Made when there is something to be kept. What is written is in it at once, or it is known that it is not."""
        return tempfile.TemporaryFile(prefix="langchain-sandbox-", buffering=0)

    def _give_up(self, stream: int) -> None:
        """Give the room back that half a content takes: others may fit, and what is made of them needs some."""
        arriving = self._arriving.pop(stream, None)
        if arriving is not None:
            self._skip(arriving.change.path if arriving.change else "commits", "there was no room for it")
            self._spool.truncate(arriving.offset)

    def _finish(self, arriving: _Arriving | None) -> None:
        if arriving is None:
            return
        if arriving.change is None:
            self._bundle = arriving
            return
        path = arriving.change.path
        self._live += arriving.size - (self._arrived[path].size if path in self._arrived else 0)
        self._arrived[path] = arriving

    def _keep(self, stream: int, payload: bytes) -> None:
        arriving = self._arriving.get(stream)
        if arriving is None:
            return
        fault = None
        former = self._arrived.get(arriving.change.path) if arriving.change else None
        live = self._live - (former.size if former else 0) if arriving.change else 0
        if len(payload) > self._room or live + arriving.size + len(payload) > self._limit:
            fault = "over the limit for changes (Limits.changes)"
        # One file at a time: a stream that is interleaved with another would mix their contents.
        elif self._spool.seek(0, os.SEEK_END) != arriving.offset + arriving.size:
            fault = "its content came in disorder"
        if fault is not None:
            self._skip(arriving.change.path if arriving.change else "commits", fault)
            del self._arriving[stream]
            return
        rest = memoryview(payload)
        while rest:
            rest = rest[self._spool.write(rest) :]
        self._room -= len(payload)
        arriving.size += len(payload)

    def _begin(self, stream: int, body: dict[str, Any]) -> None:
        if stream in self._arriving:
            return
        self._spool.seek(0, os.SEEK_END)
        if body.get("type") == "commits":
            self._arriving[stream] = _Arriving(None, self._spool.tell())
        if body.get("type") != "change":
            return
        path = _normal(body.get("path"))
        if path is None:
            self._skip(str(body.get("path")), "not a file's name")
            return
        if body.get("kind") == "unchanged":
            former = self._arrived.pop(path, None)
            self._live -= former.size if former else 0
            return
        fault = find_fault(path)
        if fault is None and is_masked(path):
            fault = "would configure OpenCode itself"
        if fault is None and len(self._arrived) + len(self._arriving) >= _MAX_CHANGES:
            fault = f"more than {_MAX_CHANGES} changes"
        change = _parse_change(path, body)
        if fault is None and change is not None and change.mode == SYMLINK:
            fault = find_link_fault(path, _target(change))
        if fault is not None or change is None:
            self._skip(path, fault or "of an unknown kind")
            return
        self._arriving[stream] = _Arriving(change, self._spool.tell())

    def _load(self, arrived: _Arriving) -> Change | None:
        change = arrived.change
        if change is not None and change.mode in {FILE, EXECUTABLE}:
            return Change(change.path, change.mode, Stored(self._spool, arrived.offset, arrived.size))
        return change

    def _skip(self, path: str, reason: str) -> None:
        words = f"{path[:200]!r}: {reason}"
        if len(self.skipped) < _MAX_SKIPPED and words not in self.skipped:
            self.skipped.append(words)


def drop_misfits(changes: list[Change], snapshot: Snapshot, *, skip: Callable[[str, str], None]) -> list[Change]:
    """Take out what cannot be a tree, such as a file below a link, and what would be a repository.

    Args:
        changes: In the order of their paths.
        snapshot: What they change.
        skip: Called with the path of each that is taken out, and the reason.
    """
    after = set(snapshot.entries) | {change.path for change in changes if change.mode is not None}
    after -= {change.path for change in changes if change.mode is None}
    kept = []
    for change in changes:
        if change.mode is not None and any(parent in after for parent in parents(change.path)):
            skip(change.path, "below a path that is a file or a link")
            after.discard(change.path)
        else:
            kept.append(change)
    folders = {parent for path in after for parent in parents(path)}
    repositories = find_git_folders(after | folders)
    fitting = []
    for change in kept:
        if change.mode is not None and change.path in folders:
            skip(change.path, "in the place of a folder that stays")
        elif change.mode is not None and belongs_to_git_folder(change.path, repositories):
            skip(change.path, "git would take its folder for a repository")
        else:
            fitting.append(change)
    return fitting


def _normal(name: object) -> str | None:
    """A name as this system writes it; `None` if no file can have it."""
    if not isinstance(name, str):
        return None
    try:
        return os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None


def _target(change: Change) -> bytes:
    return change.content if isinstance(change.content, bytes) else b""


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
