"""The changes' way out: which files differ from what arrived, one stream each.

What is sent is a claim; the host checks every path and compares every content with its own snapshot.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent import children
from langchain_sandbox.agent.arrival import fingerprint
from langchain_sandbox.agent.opencode import REPOSITORY, tool_environment
from langchain_sandbox.link import Channel, FileStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.agent.wire import Outlet

_CHUNK = 64 * 1024
_MAX_SKIPPED = 100
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a fifo in the file's place must not hold us


def send_changes(wire: Outlet, manifest: dict[str, tuple[int, ...]], *, limit: int) -> dict[str, Any]:
    """Send every changed file and return the summary for the host.

    Args:
        wire: Where to.
        manifest: How the files looked when they arrived.
        limit: Bytes of content to send at most; what goes beyond is named in the summary instead.
    """
    streams = itertools.count(FileStream.FIRST_CHANGE)
    left = limit
    change: dict[str, Any] | None
    skipped: list[dict[str, str]] = []
    for path in sorted(_candidates(manifest)):
        change = _describe(path, manifest.get(path))
        if change is None:
            continue
        reason = change.get("skipped")
        if change.get("size", 0) > left:
            reason = "over the limit for changes"
        if reason is None:
            try:
                left -= _send(wire, next(streams), path, change)
            except OSError as error:
                reason = error.strerror or "unreadable"
        if reason is not None and len(skipped) < _MAX_SKIPPED:
            skipped.append({"path": path, "reason": reason})
    return {"skipped": skipped}


def _candidates(manifest: dict[str, tuple[int, ...]]) -> set[str]:
    command = [
        "git",
        "-c",
        "core.fsmonitor=false",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    try:
        output = children.run(command, cwd=REPOSITORY, env=tool_environment())
        listed = {os.fsdecode(name) for name in output.split(b"\0") if name}
    except OSError:
        listed = set(_walk(""))  # the agent broke its own git; better too much than nothing
    found = set(manifest)
    for name in listed:
        # A repository inside the repository is listed as one folder.
        found.update(_walk(name.rstrip("/")) if name.endswith("/") else (name,))
    return found


def _walk(below: str) -> Iterator[str]:
    for folder, folders, names in os.walk(os.path.join(REPOSITORY, below)):
        if ".git" in folders:
            folders.remove(".git")
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in [*names, *links]:
            yield os.path.relpath(os.path.join(folder, name), REPOSITORY)


def _describe(path: str, before: tuple[int, ...] | None) -> dict[str, Any] | None:
    """What to tell about a path: nothing when it is as it came."""
    full = os.path.join(REPOSITORY, path)
    deleted = {"path": path, "kind": "deleted"} if before is not None else None
    try:
        now = os.lstat(full)
        if before == fingerprint(now):
            return None
        if stat.S_ISREG(now.st_mode):
            executable = bool(now.st_mode & stat.S_IXUSR)
            return {"path": path, "kind": "file", "executable": executable, "size": now.st_size}
        if stat.S_ISLNK(now.st_mode):
            return {"path": path, "kind": "symlink", "target": os.readlink(full)}
    except OSError as error:
        missing = error.errno in {errno.ENOENT, errno.ENOTDIR}
        return deleted if missing else {"path": path, "skipped": error.strerror or "unreadable"}
    # A folder where a file was; what is in it are candidates of their own.
    return deleted if stat.S_ISDIR(now.st_mode) else {"path": path, "skipped": "not a file"}


def _send(wire: Outlet, stream: int, path: str, change: dict[str, Any]) -> int:
    """Send one change and return the bytes of content that it took.

    Raises:
        OSError: If the file cannot be opened; nothing was sent then.
    """
    size: int = change.get("size", 0)
    descriptor = os.open(os.path.join(REPOSITORY, path), _READ) if change["kind"] == "file" else None
    wire.send_message({"type": "change", **change}, channel=Channel.FILES, stream=stream)
    if descriptor is not None:
        with open(descriptor, "rb") as file:
            left = size
            while left and (chunk := file.read(min(_CHUNK, left))):
                wire.send_data(chunk, channel=Channel.FILES, stream=stream)
                left -= len(chunk)
    wire.send_end(channel=Channel.FILES, stream=stream)
    return size
