"""The repository's way in: files as one tar stream, history as one pack, then git as the user's looks."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent import children
from langchain_sandbox.agent.opencode import REPOSITORY, tool_environment
from langchain_sandbox.link import Data, End, FileStream, LinkEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_sandbox.agent.wire import Outlet


class ArrivalError(Exception):
    """The repository could not be put down; usually the disk is full."""


class Arrival:
    """Receives the work folder; `wait` returns once all of it is in place."""

    def __init__(self, wire: Outlet) -> None:
        self._wire = wire
        self._streams: dict[int, queue.SimpleQueue[LinkEvent]] = {
            FileStream.TAR: queue.SimpleQueue(),
            FileStream.PACK: queue.SimpleQueue(),
        }
        self._done = threading.Event()
        self._error: str | None = None
        self.manifest: dict[str, tuple[int, ...]] = {}

    def start(self, description: dict[str, Any]) -> None:
        """Begin; `description["git"]` says how the repository's git should look, or is `None`."""
        threading.Thread(target=self._receive, args=(description.get("git"),), name="arrival", daemon=True).start()

    def on_event(self, event: LinkEvent) -> None:
        """Take what the host says on the FILES channel; never blocks (the window bounds the queue)."""
        stream = self._streams.get(event.stream)
        if stream is not None:
            stream.put(event)

    @property
    def complete(self) -> bool:
        """Whether all of it is in place."""
        return self._done.is_set() and self._error is None

    def wait(self) -> None:
        """Wait until everything is in place.

        Raises:
            ArrivalError: If it could not be put there.
        """
        self._done.wait()
        if self._error is not None:
            raise ArrivalError(self._error)

    def _receive(self, git: dict[str, Any] | None) -> None:
        try:
            # A folder below the mount point, made by us: the mount point belongs to root, and git calls a
            # repository in a folder of somebody else's "dubious".
            os.makedirs(REPOSITORY)
            branch = git["branch"] if git and git["branch"] else "main"
            _git("init", "--quiet", "--initial-branch", branch)
            self._pump(FileStream.TAR, ["tar", "--extract", "--preserve-permissions", "--no-same-owner", "--file=-"])
            if git is not None:
                self._pump(FileStream.PACK, ["git", "index-pack", "--stdin"])
                _restore_git(git)
            self.manifest = take_manifest()
        except (OSError, KeyError, TypeError) as error:
            self._error = str(error)
        finally:
            self._done.set()

    def _pump(self, stream: int, command: Sequence[str]) -> None:
        errors = os.fdopen(os.memfd_create("stderr"), "w+b")
        child = children.spawn(command, cwd=REPOSITORY, env=tool_environment(), stdin=subprocess.PIPE, stderr=errors)
        assert child.stdin is not None
        broken = False
        while True:
            event = self._streams[stream].get()
            if isinstance(event, Data):
                try:
                    if not broken:
                        child.stdin.write(event.payload)
                except OSError:
                    broken = True  # the command ended early; its exit code says why, the rest is let go by
                self._wire.acknowledge(event)
            elif isinstance(event, End):
                break
            else:
                broken = True
                break
        try:
            child.stdin.close()
        except OSError:
            broken = True
        code = children.wait(child)
        with errors:
            errors.seek(0)
            words = errors.read(500).decode("utf-8", "replace").strip()
        if broken or code != 0:
            msg = f"{command[0]} ended with {code}: {words}"
            raise OSError(msg)


def take_manifest() -> dict[str, tuple[int, ...]]:
    """How each file of the work folder looks now, so that changes can be told later."""
    manifest: dict[str, tuple[int, ...]] = {}
    for folder, folders, names in os.walk(REPOSITORY):
        if folder == REPOSITORY:
            folders[:] = [name for name in folders if name != ".git"]
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in [*names, *links]:
            path = os.path.join(folder, name)
            manifest[os.path.relpath(path, REPOSITORY)] = fingerprint(os.lstat(path))
    return manifest


def fingerprint(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does. The change time cannot be set back by a program that hides its tracks."""
    return (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _restore_git(git: dict[str, Any]) -> None:
    if git["shallow"]:
        with open(f"{REPOSITORY}/.git/shallow", "w", encoding="ascii") as file:
            file.writelines(f"{commit}\n" for commit in git["shallow"])
    if git["branch"]:
        _git("update-ref", f"refs/heads/{git['branch']}", git["head"])
    else:
        _git("update-ref", "--no-deref", "HEAD", git["head"])
    for key in ("user.name", "user.email"):
        if git.get(key):
            _git("config", key, git[key])
    # The index becomes HEAD's, then learns the files' times, so that `git status` need not read them all.
    _git("reset", "--quiet", "--mixed")


def _git(*arguments: str) -> bytes:
    return children.run(["git", *arguments], cwd=REPOSITORY, env=tool_environment(), timeout=120.0)
