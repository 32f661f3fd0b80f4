"""The changes' way out: which files differ from what arrived, one stream each, and new commits as one bundle.

What is sent is a claim; the host checks every path and compares every content with its own snapshot. It is sent as it
comes about, not only at the end, so that a container that breaks takes no more with it than the last seconds' work.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import threading
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from langchain_sandbox.agent import children
from langchain_sandbox.agent.manifest import fingerprint
from langchain_sandbox.agent.new_commits import NewCommits
from langchain_sandbox.agent.opencode import REPOSITORY, tool_environment
from langchain_sandbox.agent.patient_git import COMMAND, PatientGit
from langchain_sandbox.link import Channel, FileStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_sandbox.agent.arrival import Arrival
    from langchain_sandbox.agent.wire import Outlet

_CHUNK = 64 * 1024
_MAX_SKIPPED = 100
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a fifo in the file's place must not hold us
_PAUSE = 3.0
_SHARE = 20  # one part of the time is for looking, at most; the others are for working


class Departure:
    """Sends what has changed, as often as it is asked to; each time only what is not as it was sent last.

    Args:
        wire: Where to.
        arrival: What came in; complete.
        limit: Bytes of content to send at most in the end, and once more on the way there; what goes beyond is named
            in the summary instead.
    """

    def __init__(self, wire: Outlet, arrival: Arrival, *, limit: int) -> None:
        self._wire = wire
        self._arrival = arrival
        self._limit = self._ahead = limit
        self.sent: dict[str, tuple[int, ...] | None] = {}
        """Which paths went, and as what; `None` for as deleted."""
        self._sizes: dict[str, int] = {}
        self._total = 0  # of these sizes
        self._streams = itertools.count(FileStream.FIRST_CHANGE)
        self._lock = threading.Lock()
        self._over = False
        self._outside: list[str] = []  # files above the workspace's folder, where none was before
        self._git = PatientGit(REPOSITORY)
        self.commits = NewCommits(arrival, self._git)
        """Those that are the agent's."""

    def start(self) -> None:
        """Send now and then what has changed until then, until `finish`."""
        threading.Thread(target=self._look_now_and_then, name="departure", daemon=True).start()

    def stop(self) -> None:
        """Look no more now and then; when this returns, no look is under way."""
        with self._lock:
            self._over = True

    def finish(self, *, make_room: Callable[[], None] | None = None) -> dict[str, Any]:
        """Send what is left, and return the summary for the host. Nothing may change any more.

        Args:
            make_room: Called where git cannot be run, as when there can be no more processes; it is tried once more
                after that.
        """
        with self._lock:
            self._over, self._git.make_room = True, make_room
            skipped = self._send_changes()
            skipped += [{"path": name, "reason": "outside of the workspace"} for name in self._outside[:_MAX_SKIPPED]]
            reason = self._send_commits()
            if reason is not None:
                skipped.append({"path": "commits", "reason": reason})
            return {"skipped": skipped}

    def _look_now_and_then(self) -> None:
        pause = _PAUSE
        while True:
            time.sleep(pause)
            with self._lock:
                if self._over:
                    return
                began = time.monotonic()
                with suppress(OSError):  # the files move under our eyes; the last look is at files that stand still
                    self._send_changes()
                pause = max(_PAUSE, (time.monotonic() - began) * _SHARE)

    def _send_changes(self) -> list[dict[str, str]]:
        skipped: list[dict[str, str]] = []
        links = _Links(self._arrival.folder)
        for path in sorted(self._candidates()):
            reason = self._settle(path, links)
            if reason is not None and len(skipped) < _MAX_SKIPPED:
                skipped.append({"path": path, "reason": reason})
        return skipped

    def _settle(self, path: str, links: _Links) -> str | None:
        """Bring the host up to date with one path, and return why that is not possible."""
        before = self._arrival.manifest.get(path)
        # What a link leads to has another name.
        change = _gone(before) if links.lead_to(path) else _describe(self._arrival.folder, path, before)
        reason: str | None = change.pop("skipped", None) if change is not None else None
        if change is None or reason is not None:
            self._take_back(path)
            return reason
        now = change.pop("fingerprint", None)
        if path in self.sent and self.sent[path] == now:
            return None
        size = change.get("size", 0)
        if size > self._limit - self._total + self._sizes.get(path, 0):
            self._take_back(path)
            return "over the limit for changes"
        if not self._over:
            if size > self._ahead:
                return None  # it goes with the last look
            self._ahead -= size
        try:
            self._tell(path, change)
        except OSError as error:
            self._take_back(path)
            return error.strerror or "unreadable"
        self.sent[path] = now
        self._total += size - self._sizes.get(path, 0)
        self._sizes[path] = size
        return None

    def _take_back(self, path: str) -> None:
        """Have the host forget what it was sent of a path: it is not what the file came to."""
        if path in self.sent:
            self._tell(path, {"kind": "unchanged"})
            del self.sent[path]
            self._total -= self._sizes.pop(path, 0)

    def _tell(self, path: str, change: dict[str, Any]) -> None:
        """Send one change.

        Raises:
            OSError: If the file cannot be opened; nothing was sent then.
        """
        file = change["kind"] == "file"
        descriptor = _open(os.path.join(self._arrival.folder, path)) if file else None
        stream = next(self._streams)
        self._wire.send_message({"type": "change", "path": path, **change}, channel=Channel.FILES, stream=stream)
        if descriptor is not None:
            with open(descriptor, "rb", buffering=0) as content:
                self._send(stream, content, change["size"])
        self._wire.send_end(channel=Channel.FILES, stream=stream)

    def _send(self, stream: int, content: IO[bytes], size: int) -> None:
        while size and (chunk := content.read(min(_CHUNK, size))):
            self._wire.send_data(chunk, channel=Channel.FILES, stream=stream)
            size -= len(chunk)

    def _candidates(self) -> set[str]:
        """Paths below the work folder that may have changed."""
        folder = self._arrival.folder
        # What an earlier run had made is not forgotten where git ignores it.
        found = set(self._arrival.manifest) | set(self.sent) | self._arrival.seeded
        try:
            # From the root, also for a folder: in one, git passes over what a .gitignore above says that is not there.
            output = self._git.ask("ls-files", "-z", "--cached", "--others", "--exclude-standard")
            prefix = self._arrival.prefix
            names = (os.fsdecode(name) for name in output.split(b"\0") if name)
            self._outside = []
            listed = set()
            for name in names:
                if name.startswith(prefix):
                    listed.add(name.removeprefix(prefix))
                elif self._over and os.path.lexists(os.path.join(REPOSITORY, name)):
                    self._outside.append(name)
        except OSError:
            if not self._over:
                raise
            listed = set(_walk(folder, ""))  # the agent broke its own git; better too much than nothing
        for name in listed:
            # A repository inside the repository is listed as one folder.
            found.update((name,) if name and not name.endswith("/") else _walk(folder, name.rstrip("/")))
        for nested in self._arrival.nested:
            found.update(_list_nested(folder, nested))
        return found

    def _send_commits(self) -> str | None:
        """Send the commits that are new, and return why that is not possible."""
        try:
            bundle = self.commits.pack()
        except OSError as error:
            return f"they could not be packed: {error}"
        if bundle is None:
            return None
        with bundle:
            size = bundle.seek(0, os.SEEK_END)
            if size > self._limit:
                return "over the limit for changes"
            bundle.seek(0)
            stream = next(self._streams)
            self._wire.send_message({"type": "commits", "size": size}, channel=Channel.FILES, stream=stream)
            self._send(stream, bundle, size)
            self._wire.send_end(channel=Channel.FILES, stream=stream)
            self.commits.note_given(bundle)
        return None


def _open(path: str) -> int:
    """A file that was made unreadable is ours all the same."""
    try:
        return os.open(path, _READ)
    except PermissionError:
        os.chmod(path, stat.S_IMODE(os.lstat(path).st_mode) | stat.S_IRUSR)
        return os.open(path, _READ)


def _walk(root: str, below: str) -> Iterator[str]:
    for folder, folders, names in os.walk(os.path.join(root, below)):
        if ".git" in folders:
            folders.remove(".git")
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in [*names, *links]:
            yield os.path.relpath(os.path.join(folder, name), root)


def _list_nested(root: str, below: str) -> Iterator[str]:
    """What git would list in a repository inside, which here is a folder that git knows nothing of."""
    folder = os.path.join(root, below)
    command = [*COMMAND, f"--git-dir={REPOSITORY}/.git", f"--work-tree={folder}"]
    command += ["ls-files", "-z", "--others", "--exclude-standard"]
    try:
        output = children.run(command, cwd=folder, env=tool_environment() | {"GIT_INDEX_FILE": "/tmp/no-index"})
    except OSError:
        yield from _walk(root, below)
        return
    for name in output.split(b"\0"):
        if name:
            path = os.path.join(below, os.fsdecode(name))
            yield from _walk(root, path.rstrip("/")) if path.endswith("/") else (path,)


class _Links:
    """Which folders are links, or lie behind one; each is looked at once.

    Args:
        root: Where they are.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._known = {"": False}

    def lead_to(self, path: str) -> bool:
        """Whether a folder above a path is a link."""
        above = folder = os.path.dirname(path)
        asked = []
        while folder not in self._known:
            asked.append(folder)
            folder = os.path.dirname(folder)
        for each in reversed(asked):
            self._known[each] = self._known[os.path.dirname(each)] or os.path.islink(os.path.join(self._root, each))
        return self._known[above]


def _gone(before: tuple[int, ...] | None) -> dict[str, Any] | None:
    """What to tell about a path with nothing there."""
    return {"kind": "deleted"} if before is not None else None


def _describe(root: str, path: str, before: tuple[int, ...] | None) -> dict[str, Any] | None:
    """What to tell about a path: nothing when it is as it came."""
    full = os.path.join(root, path)
    deleted = _gone(before)
    try:
        now = os.lstat(full)
        seen = fingerprint(now)
        if before == seen:
            return None
        if stat.S_ISREG(now.st_mode):
            executable = bool(now.st_mode & stat.S_IXUSR)
            return {"kind": "file", "executable": executable, "size": now.st_size, "fingerprint": seen}
        if stat.S_ISLNK(now.st_mode):
            return {"kind": "symlink", "target": os.readlink(full), "fingerprint": seen}
    except OSError as error:
        missing = error.errno in {errno.ENOENT, errno.ENOTDIR}
        return deleted if missing else {"skipped": error.strerror or "unreadable"}
    # A folder where a file was; what is in it are candidates of their own.
    return deleted if stat.S_ISDIR(now.st_mode) else {"skipped": "not a file"}
