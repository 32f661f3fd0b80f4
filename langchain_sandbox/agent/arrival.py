"""The repository's way in: files as one tar stream, history as one pack, then git as the user's looks."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent import children
from langchain_sandbox.agent.anew import write_anew
from langchain_sandbox.agent.manifest import take_manifest
from langchain_sandbox.agent.opencode import REPOSITORY, tool_environment
from langchain_sandbox.agent.repository import look_at_refs, make_repository, read_head, restore_head, restore_index
from langchain_sandbox.agent.seed import lay_down
from langchain_sandbox.link import Data, End, FileStream, LinkEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_sandbox.agent.wire import Outlet


class ArrivalError(Exception):
    """The repository could not be put down; usually the disk is full."""


class Arrival:
    """Receives the workspace; `wait` returns once all of it is in place.

    Then `manifest` is how each of its files looked, `nested` the folders in it that are repositories of their own
    outside, `bases` the commits that came in, `tips` those that the host knows of beside them, `shallow` those of them
    whose parents stayed outside, `seeded` what an earlier run's changes have changed since, and `refs` how git's own
    files looked that say which commits there are, if that is known.

    Args:
        wire: Where it comes from.
        folder: Where the files belong: the repository's root, or a folder in it.
    """

    def __init__(self, wire: Outlet, *, folder: str = REPOSITORY) -> None:
        self._wire = wire
        self.folder = folder
        self._streams: dict[int, queue.SimpleQueue[LinkEvent]] = {
            FileStream.TAR: queue.SimpleQueue(),
            FileStream.PACK: queue.SimpleQueue(),
            FileStream.PACK_INDEX: queue.SimpleQueue(),
            FileStream.SEED: queue.SimpleQueue(),
        }
        self._done = threading.Event()
        self._error: str | None = None
        self.manifest: dict[str, tuple[int, ...]] = {}
        self.nested: list[str] = []
        self.bases: list[str] = []
        self.tips: list[str] = []
        self.shallow: list[str] = []
        self.seeded: set[str] = set()
        self.refs: dict[str, tuple[int, ...]] | None = None
        self._has_seed = False

    def start(self, description: dict[str, Any]) -> None:
        """Begin.

        Args:
            description: `git` says how the repository's git should look, or is `None`; `seed`, whether an earlier
                run's changes follow.
        """
        self._has_seed = bool(description.get("seed"))
        threading.Thread(target=self._receive, args=(description.get("git"),), name="arrival", daemon=True).start()

    def on_event(self, event: LinkEvent) -> None:
        """Take what the host says on the FILES channel; never blocks (the window bounds the queue)."""
        stream = self._streams.get(event.stream)
        if stream is not None:
            stream.put(event)

    @property
    def prefix(self) -> str:
        """Where the files lie in the repository: empty for its root, else such as `packages/a/`."""
        path = os.path.relpath(self.folder, REPOSITORY)
        return "" if path == "." else f"{path}/"

    @property
    def error(self) -> str | None:
        """Why it could not be put in place; `None` if that has not failed."""
        return self._error

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
            os.makedirs(self.folder, exist_ok=True)
            make_repository(git["branch"] if git and git["branch"] else "main")
            # A second core can take the history while the files come in, whichever comes first.
            history = _Helper(self._take_history, git)
            self._pump(FileStream.TAR, ["tar", "--extract", "--preserve-permissions", "--no-same-owner", "--file=-"])
            self.manifest = take_manifest(self.folder)
            listed = history.wait()
            if git is not None:
                restore_index(git, listed, self.manifest, prefix=self.prefix)
                self.nested = [str(path) for path in git["nested"]]
                self._note_commits(git)
            if self._has_seed:
                # Last: to git, and to whoever looks for changes in the end, they are changes like the agent's own.
                self.seeded = lay_down(
                    self.folder, self._streams[FileStream.SEED].get, acknowledge=self._wire.acknowledge
                )
            self.refs = look_at_refs()
        except (OSError, KeyError, TypeError, ValueError) as error:
            self._error = str(error)
        finally:
            self._done.set()

    def _take_history(self, git: dict[str, Any] | None) -> bytes:
        """Put the commits down, and return what the newest one has."""
        if git is None:
            return b""
        if git["pack"]:
            self._store(FileStream.PACK, f".git/objects/pack/{git['pack']}.pack")
            self._store(FileStream.PACK_INDEX, f".git/objects/pack/{git['pack']}.idx")
        restore_head(git, shallow=self.shallow)
        return read_head() if git["head"] else b""

    def _store(self, stream: int, path: str) -> None:
        """Write a stream down as a file of the repository."""
        with write_anew(REPOSITORY, path) as file:
            while isinstance(event := self._streams[stream].get(), Data):
                file.write(event.payload)
                self._wire.acknowledge(event)
            if not isinstance(event, End):
                msg = f"{path} came in part only"
                raise OSError(msg)

    def _note_commits(self, git: dict[str, Any]) -> None:
        """Remember which commits came in."""
        self.bases = list(dict.fromkeys([*self.bases, *filter(None, [git["head"]])]))
        self.shallow = list(dict.fromkeys([*self.shallow, *git["shallow"]]))

    def _pump(self, stream: int, command: Sequence[str]) -> None:
        errors = os.fdopen(os.memfd_create("stderr"), "w+b")
        child = children.spawn(command, cwd=self.folder, env=tool_environment(), stdin=subprocess.PIPE, stderr=errors)
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
        children.forget(child)
        with errors:
            errors.seek(0)
            words = errors.read(500).decode("utf-8", "replace").strip()
        if broken or code != 0:
            msg = f"{command[0]} ended with {code}: {words}"
            raise OSError(msg)


class _Helper:
    """A thread with a result."""

    def __init__(self, work: Callable[[dict[str, Any] | None], bytes], git: dict[str, Any] | None) -> None:
        self._work = work
        self._result = b""
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(git,), name="history", daemon=True)
        self._thread.start()

    def wait(self) -> bytes:
        """What came of it.

        Raises:
            Exception: Its own.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self, git: dict[str, Any] | None) -> None:
        try:
            self._result = self._work(git)
        except (OSError, KeyError, TypeError, ValueError) as error:
            self._error = error


class Mounted(Arrival):
    """A workspace that is there already and that the host looks at itself: nothing comes in."""

    def start(self, description: dict[str, Any]) -> None:  # noqa: ARG002 - there is nothing to say of it
        """Nothing is to be waited for."""
        self._done.set()
