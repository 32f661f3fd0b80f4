"""A workspace that goes into one container again and again: what is in there, and what has changed outside since.

Two sides write to it. What the host changed since the last time goes in; what the agent changed and the host did not
take over stays as it is in there. Where both changed a file, the host's counts, and the caller is told: the agent's is
in the result that brought it.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.applying.seed import Seed
from langchain_sandbox.workspace.applying.transaction import recover
from langchain_sandbox.workspace.carriage import Copy, Yield
from langchain_sandbox.workspace.content import Content, Stored, blob_name, measure, pieces
from langchain_sandbox.workspace.inbound.intake import Intake, take_intake
from langchain_sandbox.workspace.inbound.snapshot import SYMLINK, Entry, Snapshot
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.paths import parents

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.config import Limits
    from langchain_sandbox.workspace.inbound.history import History
    from langchain_sandbox.workspace.inbound.selection import Selection
    from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver
    from langchain_sandbox.workspace_config import Workspace

_SHOWN = 5
_STATE = ("head", "branch", "shallow", "settings", "index", "intended", "nested", "rules")

_Look = tuple[int, str]
"""Git's mode, and git's name for the content."""


@dataclass(frozen=True, slots=True)
class _Inside:
    """How a path is in the container where that is not as it is outside; without a look it is gone there."""

    look: _Look | None
    content: Content = b""


@dataclass(slots=True)
class _Known:
    """What is known of the container's workspace.

    Args:
        outside: How the host's files looked when they went in last.
        inside: What the agent has made of them since, as far as the host has not.
        git: What the host's git was like then.
        head: The commit that is checked out inside.
    """

    outside: dict[str, _Look] = field(default_factory=dict)
    inside: dict[str, _Inside] = field(default_factory=dict)
    git: dict[str, Any] | None = None
    head: str | None = None


class Following:
    """One session's workspace. Its methods block for as long as the disk and git do, and are called one by one.

    Args:
        workspace: The folder, and what of it; `None` for nothing at all.
        limits: Bounds what may go in.
    """

    def __init__(self, workspace: Workspace | None, limits: Limits) -> None:
        self._workspace = workspace
        self._limits = limits
        self._known: _Known | None = None
        self._spool = tempfile.TemporaryFile(prefix="langchain-sandbox-")  # noqa: SIM115 - closed in `close`

    def load(
        self,
        *,
        on_found: Callable[[Selection], None] | None = None,
        on_selected: Callable[[Selection], None] | None = None,
    ) -> FollowedCopy:
        """Read the workspace, and work out what of it the container does not have.

        Args:
            on_found: As for `take_intake`.
            on_selected: As for `take_intake`.

        Raises:
            SandboxConfigError: If it cannot go in; the message says why.
        """
        if self._workspace is not None:
            recover(self._workspace.path)  # what a killed `apply` left half done is not what goes in
        intake = take_intake(self._workspace, self._limits, on_found=on_found, on_selected=on_selected)
        try:
            return FollowedCopy(intake, self._known, spool=self._spool)
        except BaseException:
            intake.close()
            raise

    def has(self, path: str, content: bytes) -> bool:
        """Whether the container has a file as it is outside; for no content, also whether neither side has it.

        Args:
            path: The file's.
            content: What it says outside.
        """
        known = self._known
        if known is None or path in known.inside:
            return False
        look = known.outside.get(path)
        return not content if look is None else look[1] == blob_name(content)

    def settle(self, copy: FollowedCopy) -> None:
        """Remember what the container has, after a task that ended well.

        Args:
            copy: What went in for it.
        """
        self._known = copy.after

    def close(self) -> None:
        """Let the contents go."""
        self._spool.close()


class FollowedCopy(Copy):
    """As a `Copy`, for a container that may have most of it.

    Args:
        intake: All of it, as it is outside.
        known: What the container has; `None` for nothing yet.
        spool: Keeps contents that only the container has.
    """

    def __init__(self, intake: Intake, known: _Known | None, *, spool: IO[bytes]) -> None:
        self._spool = spool
        self._git_before: dict[str, Any] | None = None
        outside = {path: (entry.mode, entry.blob) for path, entry in intake.snapshot.entries.items()}
        history = intake.history
        git = history.describe() if history is not None else None
        self.after = _Known(outside, {}, git, history.head if history is not None else None)
        if known is None:
            super().__init__(intake)
            return
        self.again = True
        self.after.inside = {
            path: inside for path, inside in known.inside.items() if known.outside.get(path) == outside.get(path)
        }
        changes = _find_changes(known, outside, intake.snapshot)
        obstacles = _find_obstacles(changes, self.after.inside)
        for path in obstacles:
            del self.after.inside[path]
        changes = [*(Change(path, None) for path in obstacles), *changes]
        both = sorted(change.path for change in changes if change.path in known.inside)
        moved = _has_moved(known, git)
        if not moved:
            self.after.head = known.head
        super().__init__(_look_inside(intake, self.after), Seed(changes, _warn(both)))
        self.git = git if moved else None
        if moved and history is not None:
            # What is not as the index says is to be told by what is inside.
            history.compare(self.intake.snapshot)
            history.deleted += self._list_deleted(intake)
            self.git = history.describe()

    def collect(self, receiver: ChangesReceiver) -> Yield:
        """What the container has sent, checked against what was in it; it stays in there."""
        harvest = super().collect(receiver)
        for change in harvest.changes:
            look = None if change.mode is None else (change.mode, blob_name(change.content))
            if look == self.after.outside.get(change.path):
                self.after.inside.pop(change.path, None)
            else:
                self.after.inside[change.path] = _Inside(look, self._keep(change))
        if harvest.bundle is not None:
            # Unless somebody reads these commits, nobody knows what is checked out inside: it is set anew then.
            self._git_before, self.after.git = self.after.git, None
        return harvest

    def note_head(self, head: str) -> None:
        """Remember which commit the container ends with."""
        self.after.head, self.after.git = head, self._git_before

    def _list_deleted(self, intake: Intake) -> list[str]:
        """What git is to miss since the agent has deleted it."""
        selection = intake.snapshot.selection
        if selection is None or selection.repository is None:
            return []
        gone = (path for path, inside in self.after.inside.items() if inside.look is None and path in selection.index)
        return [selection.repository.prefix + path for path in gone]

    def _keep(self, change: Change) -> Content:
        if isinstance(change.content, bytes):
            return change.content
        offset = self._spool.seek(0, os.SEEK_END)
        for piece in pieces(change.content):
            self._spool.write(piece)
        self._spool.flush()
        return Stored(self._spool, offset, measure(change.content))


def _find_changes(known: _Known, outside: dict[str, _Look], snapshot: Snapshot) -> list[Change]:
    """What the container has to be told, deletions first."""
    changes = []
    for path in known.outside.keys() | outside.keys():
        look = outside.get(path)
        if look == known.outside.get(path):
            continue
        there = known.inside[path].look if path in known.inside else known.outside.get(path)
        if look != there:
            entry = snapshot.entries.get(path)
            changes.append(Change(path, None) if entry is None else Change(path, entry.mode, snapshot.read(entry)))
    return sorted(changes, key=lambda change: (change.mode is not None, change.path))


def _find_obstacles(changes: list[Change], inside: dict[str, _Inside]) -> list[str]:
    """The agent's files and links where the host has folders now, and those in folders where the host has a file."""
    coming = {change.path for change in changes if change.mode is not None}
    above = {folder for path in coming for folder in parents(path)}
    there = (path for path, state in inside.items() if state.look is not None)
    return sorted(path for path in there if path in above or not coming.isdisjoint(parents(path)))


def _has_moved(known: _Known, git: dict[str, Any] | None) -> bool:
    """Whether the host's git is not as it was, nor as the container's has become."""
    if git is None or known.git is None:
        return git is not known.git
    now, before = ({name: state[name] for name in _STATE} for state in (git, known.git))
    return now not in (before, before | {"head": known.head, "shallow": now["shallow"]})


def _look_inside(intake: Intake, after: _Known) -> Intake:
    """The workspace as it is in the container: the host's files, and over them what the agent has made."""
    snapshot = intake.snapshot
    entries, others = dict(snapshot.entries), dict(snapshot.others)
    for path, inside in after.inside.items():
        if inside.look is None:
            entries.pop(path, None)
            continue
        mode, blob = inside.look
        target = inside.content if mode == SYMLINK and isinstance(inside.content, bytes) else None
        entries[path] = Entry(mode, blob, measure(inside.content), 0, target)
        others[blob] = inside.content
    history: History | None = intake.history
    if history is not None:
        history = replace(history, head=after.head)
    return replace(intake, snapshot=replace(snapshot, entries=entries, others=others), history=history)


def _warn(both: list[str]) -> list[str]:
    if not both:
        return []
    names = ", ".join(clean_name(path) for path in both[:_SHOWN])
    more = f" and {len(both) - _SHOWN} more" if len(both) > _SHOWN else ""
    warning = (
        f"Changed by the agent in this session and in the workspace since, so the workspace's went in: {names}{more}. "
        "The agent's is in the result that brought it."
    )
    return [warning]
