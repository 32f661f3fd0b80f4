"""What is kept of a run on the host's disk: events, patch, commits, result, and what apply and revert need of it.

::

    <state folder>/runs/<run>/
        .owner           the process that works on it, for as long as the run lasts
        events.jsonl     one event a line
        changes.patch    all of the patch, however long
        commits.bundle   the commits that the agent made, as they came out: not checked
        base/<blob>      former contents of what the patch changes, for a merge
        applied/         what the user's tree was before the changes were applied, for `revert`
        result.json      the result; there when the run is over
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_sandbox.engine.owner import current_owner, is_dead
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from langchain_sandbox.workspace_config import Retention

_RUN_ID = re.compile(r"[0-9a-f]{12}")
_OWNER = ".owner"
_RESULT = "result.json"
_MOST_SIZES = 10_000
_MAX_EVENTS = 32 * 1024 * 1024


def state_folder() -> Path:
    """Where runs are kept: `SANDBOX_STATE_DIR`, else the user's state folder."""
    chosen = os.environ.get("SANDBOX_STATE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "langchain-sandbox"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder; it need not be there."""

    path: Path

    @classmethod
    def of(cls, run_id: str) -> RunFolder:
        """The folder of a run.

        Raises:
            SandboxConfigError: If that is no run's name.
        """
        if not _RUN_ID.fullmatch(run_id):
            msg = f"{run_id[:50]!r} is not the name of a run, which has 12 hexadecimal digits."
            raise SandboxConfigError(msg)
        return cls(state_folder() / "runs" / run_id)

    def make(self) -> None:
        """Make it, for this process.

        Raises:
            OSError: If it cannot be made.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.path / _OWNER).write_text(current_owner(), encoding="utf-8")

    @property
    def patch(self) -> Path:
        """The patch."""
        return self.path / "changes.patch"

    @property
    def bundle(self) -> Path:
        """The commits."""
        return self.path / "commits.bundle"

    @property
    def events(self) -> Path:
        """The events."""
        return self.path / "events.jsonl"

    @property
    def result(self) -> Path:
        """The result; there when the run is over."""
        return self.path / _RESULT

    @property
    def applied(self) -> Path:
        """What the tree was before the changes were applied."""
        return self.path / "applied"

    def base(self, blob: str) -> Path:
        """The former content of a name that git would give it."""
        return self.path / "base" / blob

    @property
    def owned(self) -> bool:
        """Whether a living process works on the run."""
        try:
            owner = (self.path / _OWNER).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return False
        return not is_dead(owner)

    def finish(self, fields: dict[str, Any]) -> None:
        """Keep the result, and let go of the folder.

        Raises:
            OSError: If it cannot be written.
        """
        beside = self.path / f"{_RESULT}.new"
        beside.write_text(json.dumps(fields), encoding="ascii")
        beside.replace(self.result)
        self.leave()

    def leave(self) -> None:
        """Let go of the folder: from here on it is removed when there is no room for it.

        Raises:
            OSError: If that cannot be written.
        """
        (self.path / _OWNER).unlink(missing_ok=True)


class EventFile:
    """The events of a run on their way to its folder: `put` never waits, `flush` writes.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.events
        self._lines: list[dict[str, Any]] = []
        self._left = _MAX_EVENTS
        self._lock = threading.Lock()  # `flush` is called in another thread

    def put(self, event: dict[str, Any]) -> None:
        """Take an event; pieces of a text that follow each other become one."""
        with self._lock:
            last = self._lines[-1] if self._lines else None
            if last is not None and event.get("type") == last.get("type") == "text":
                last["text"] += event["text"]
            else:
                self._lines.append(event)

    def flush(self) -> None:
        """Write what has come since the last time.

        Raises:
            OSError: If it cannot be written.
        """
        with self._lock:
            lines, self._lines = self._lines, []
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        if text and len(text) <= self._left:
            self._left -= len(text)
            with self._path.open("a", encoding="ascii") as file:
                file.write(text)


def sweep_runs(retention: Retention, *, latest: str) -> list[str]:
    """Remove the folders of runs that are too old or too many, and return the runs' names.

    Those of runs that a living process works on stay.

    Args:
        retention: What to keep.
        latest: The run that has just ended; it stays however much it has, since its result refers to its folder.
    """
    folders = []
    with suppress(OSError):
        folders = [entry for entry in os.scandir(state_folder() / "runs") if _RUN_ID.fullmatch(entry.name)]
    found = sorted(((f.name == latest, last_change(f), f.name, f.path) for f in folders), reverse=True)
    room, kept, removed = retention.room, 0, []
    for is_latest, at, name, path in found:
        if RunFolder(Path(path)).owned:
            continue
        room -= _measure_once(path, at)
        kept += 1
        if is_latest:
            continue
        if kept > retention.runs or room < 0 or time.time() - at > retention.age:
            shutil.rmtree(path, ignore_errors=True)
            removed.append(name)
    return removed


_sizes: dict[str, tuple[float, int]] = {}


def _measure_once(path: str, changed: float) -> int:
    """As `measure`, for a folder in which nothing changes without its own time of change."""
    known = _sizes.get(path)
    if known is None or known[0] != changed:
        if len(_sizes) >= _MOST_SIZES:
            _sizes.clear()
        known = _sizes[path] = (changed, measure(path))
    return known[1]


def last_change(folder: os.DirEntry[str]) -> float:
    """When something was put into a folder or taken out, in seconds since 1970; 0 if it is gone."""
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def measure(folder: str) -> int:
    """Bytes of all files in a folder."""
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(f"{inside}/{name}").st_size
    return total
