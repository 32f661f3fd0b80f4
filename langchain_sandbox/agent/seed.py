"""An earlier run's changes, laid over the copy before the task begins: one stream, a message and a content for each.

They are told as `departure.py` tells changes on the way out. The host has checked every path; what is looked at here
once more is what would make a mistake of the host's worse.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_sandbox.link import Data, End, LinkEvent, Message

if TYPE_CHECKING:
    from collections.abc import Callable

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_NAMES = {"", ".", "..", ".git"}


def lay_down(folder: str, take: Callable[[], LinkEvent], *, acknowledge: Callable[[Data], None]) -> set[str]:
    """Make the changes that come, in the order in which they come, and return their paths.

    Args:
        folder: The workspace.
        take: Waits for the stream's next event.
        acknowledge: Called for each piece of a content once it is written.

    Raises:
        OSError: If one cannot be made, or not all of them came.
        ValueError: If one is of a path that no change may be of.
        KeyError: If what comes is no change.
    """
    paths = set()
    event = take()
    while isinstance(event, Message):
        path = str(event.body["path"])
        deleted = event.body["kind"] == "deleted"
        _require_plain(folder, path, deleted=deleted)
        event = _delete(folder, path, take) if deleted else _make(folder, path, event.body, take, acknowledge)
        paths.add(path)
    if not isinstance(event, End):
        msg = "the earlier run's changes came in part only"
        raise OSError(msg)
    return paths


def _delete(folder: str, path: str, take: Callable[[], LinkEvent]) -> LinkEvent:
    """Delete a file or link, and return the event behind it; what is neither has made that file go already."""
    full = os.path.join(folder, path)
    if not lies_behind_link(folder, path) and (os.path.islink(full) or not os.path.isdir(full)):
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(full)
        _remove_empty(folder, path)
    return take()


def _make(
    folder: str,
    path: str,
    body: dict[str, Any],
    take: Callable[[], LinkEvent],
    acknowledge: Callable[[Data], None],
) -> LinkEvent:
    """Make a file or link, and return the event behind it."""
    full = os.path.join(folder, path)
    if os.path.lexists(full):
        os.unlink(full)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    if body["kind"] == "symlink":
        os.symlink(str(body["target"]), full)
        return take()
    with os.fdopen(os.open(full, _NEW_FILE), "wb") as file:
        os.fchmod(file.fileno(), 0o755 if body["executable"] else 0o644)
        while isinstance(event := take(), Data):
            file.write(event.payload)
            acknowledge(event)
    return event


def make_way(folder: str, path: str) -> None:
    """Take away what stands where a file is to be made: a folder in its place, a file or link in a folder's place.

    Args:
        folder: The workspace.
        path: In there; nothing is done for one that no change may be of.
    """
    parts = path.split("/")
    if not _NO_NAMES.isdisjoint(part.lower() for part in parts):
        return
    for count in range(1, len(parts)):
        above = "/".join([folder, *parts[:count]])
        if os.path.lexists(above) and (os.path.islink(above) or not os.path.isdir(above)):
            os.unlink(above)
            return
    full = os.path.join(folder, path)
    if os.path.isdir(full) and not os.path.islink(full):
        shutil.rmtree(full)


def lies_behind_link(folder: str, path: str) -> bool:
    """Whether a folder above a path is a link, so that the file is another one's."""
    parts = path.split("/")
    return any(os.path.islink("/".join([folder, *parts[:count]])) for count in range(1, len(parts)))


def _require_plain(folder: str, path: str, *, deleted: bool) -> None:
    """Refuse what is not a file's name in here, and what lies behind a link, unless nothing is to be there.

    Raises:
        ValueError: If it is so.
    """
    named = _NO_NAMES.isdisjoint(part.lower() for part in path.split("/"))
    if not named or (not deleted and lies_behind_link(folder, path)):
        msg = f"{path!r} is no place for a change"
        raise ValueError(msg)


def _remove_empty(folder: str, path: str) -> None:
    """Remove the folders that hold nothing any more, as git does."""
    while path := os.path.dirname(path):
        try:
            os.rmdir(os.path.join(folder, path))
        except OSError:
            return
