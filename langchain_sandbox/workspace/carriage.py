"""How a workspace gets into a container and its changes out again: as a copy over the link, or as a mount."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Protocol

from langchain_sandbox.workspace.applying.record import Record, keep_changed, write_record
from langchain_sandbox.workspace.applying.seed import Seed, plan_seed, require_applied
from langchain_sandbox.workspace.applying.transaction import locked, recover
from langchain_sandbox.workspace.bound.folder import BoundFolder, prepare
from langchain_sandbox.workspace.inbound.intake import Intake, take_intake
from langchain_sandbox.workspace.outbound.patch import build_patch
from langchain_sandbox.workspace.paths import parents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from langchain_sandbox.config import Limits
    from langchain_sandbox.engine.base import Mount
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.run_folder import RunFolder
    from langchain_sandbox.workspace.content import Content
    from langchain_sandbox.workspace.inbound.selection import Selection
    from langchain_sandbox.workspace.outbound.changes import Change
    from langchain_sandbox.workspace.outbound.patch import Patch
    from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver
    from langchain_sandbox.workspace_config import Workspace


_LOCK_LIMIT = 1.0


@dataclass(slots=True)
class Yield:
    """What a run has changed; `close` lets the contents go.

    Args:
        changes: The changes that are real and allowed.
        patch: The same, told against what went in.
        bundle: New commits; `None` if there are none.
        warnings: What stayed behind, and why.
        spool: Holds contents.
    """

    changes: list[Change]
    patch: Patch
    bundle: Content | None = None
    warnings: list[str] = field(default_factory=list)
    spool: IO[bytes] | None = None

    def close(self) -> None:
        """Let the contents go."""
        self.patch.close()
        if self.spool is not None:
            self.spool.close()


class Carriage(Protocol):
    """One workspace on its way; made by `load`."""

    intake: Intake
    seed: Seed
    mounts: tuple[Mount, ...]
    user: str | None
    git: dict[str, Any] | None
    """What the container is told of the repository's git; `None` for nothing."""
    again: bool
    """Whether the container has the workspace already, and is told of `seed` and `git` alone."""

    def collect(self, receiver: ChangesReceiver) -> Yield:
        """What the run has changed; call it when the container is gone.

        Raises:
            OSError: If it cannot be read.
            GitError: If git fails.
        """

    def note_head(self, head: str) -> None:
        """Take note of the last commit that the agent has made."""

    def settle(self, harvest: Yield, folder: RunFolder) -> None:
        """Keep what `revert` needs of changes that are in the user's tree already.

        Raises:
            OSError: If it cannot be written.
        """

    def close(self) -> None:
        """Let go of everything."""


class Copy:
    """A copy goes in, and the container sends back what has changed.

    Args:
        intake: What goes in.
        seed: An earlier run's changes, which go in behind it.
    """

    mounts: tuple[Mount, ...] = ()
    user: str | None = None
    again: bool = False

    def __init__(self, intake: Intake, seed: Seed | None = None) -> None:
        self.intake = intake
        self.seed = seed or Seed()
        self.git = intake.history.describe() if intake.history is not None else None

    def collect(self, receiver: ChangesReceiver) -> Yield:
        """What the container has sent, checked against what went in."""
        changes = receiver.settle(self.intake.snapshot)
        patch = build_patch(self.intake.snapshot, changes)
        warnings = [f"A change stayed behind: {reason}" for reason in receiver.skipped]
        return Yield(changes, patch, bundle=receiver.bundle, warnings=warnings)

    def note_head(self, head: str) -> None:
        """Nothing more goes in."""

    def settle(self, harvest: Yield, folder: RunFolder) -> None:
        """Nothing is in the user's tree."""

    def close(self) -> None:
        """Let the copy go."""
        self.intake.close()
        self.seed.close()


class Bind:
    """The folder itself is mounted, and looked at afterwards.

    Args:
        folder: The folder, checked.
        lock: Keeps everybody else's changes out of it; closed with this.
        run_id: The run's name.
        limits: The run's limits.
    """

    def __init__(self, folder: BoundFolder, *, lock: ExitStack, run_id: str, limits: Limits) -> None:
        self._folder = folder
        self._lock = lock
        self._run_id = run_id
        self._limits = limits
        self.seed = Seed()
        self.git: dict[str, Any] | None = None
        self.again = False
        self.mounts = folder.mounts
        self.user: str | None = folder.user
        self.intake = Intake(folder.baseline, mounted=True, warnings=list(folder.warnings))

    def collect(self, receiver: ChangesReceiver) -> Yield:  # noqa: ARG002 - nothing comes over the link
        """What is not as it was."""
        found = self._folder.collect(run_id=self._run_id, limits=self._limits)
        patch = build_patch(self._folder.baseline, found.changes)
        return Yield(found.changes, patch, warnings=found.warnings, spool=found.spool)

    def note_head(self, head: str) -> None:
        """The commits are in the user's repository already."""

    def settle(self, harvest: Yield, folder: RunFolder) -> None:
        """Keep the former contents and modes."""
        baseline = self._folder.baseline
        record = Record(str(baseline.root))
        record.paths = keep_changed(folder.applied, harvest.changes, baseline)
        emptied = {above for change in harvest.changes if change.mode is None for above in parents(change.path)}
        record.folders = {above: baseline.folders[above] for above in emptied if above in baseline.folders}
        write_record(folder.applied, record)

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            self._folder.close()


def load(
    workspace: Workspace | None,
    limits: Limits,
    *,
    run_id: str,
    target: str,
    private: Iterable[Path],
    revises: SandboxResult | None = None,
    on_found: Callable[[Selection], None] | None = None,
    on_selected: Callable[[Selection], None] | None = None,
) -> Carriage:
    """Read or check a workspace.

    Args:
        workspace: The folder, and what of it; `None` for nothing at all.
        limits: The run's limits.
        run_id: The run's name.
        target: Where it is in the container.
        private: Files and folders that no container may see.
        revises: An earlier run, whose changes go in, too.
        on_found: Called as soon as it is known where the files of a copy belong.
        on_selected: Called as soon as it is known which files of a copy go in, before they are read.

    Raises:
        SandboxConfigError: If it cannot go in; the message says why.
    """
    if workspace is not None:
        recover(workspace.path)  # what a killed `apply` left half done is not what goes in
    if workspace is not None and workspace.mode == "bind":
        with ExitStack() as lock:
            # Two at once would each take the other's changes for their own.
            lock.enter_context(locked(workspace.path, limit=_LOCK_LIMIT))
            if revises is not None:
                require_applied(revises, workspace.path)
            folder = prepare(workspace, limits, target=target, private=private)
            return Bind(folder, lock=lock.pop_all(), run_id=run_id, limits=limits)
    intake = take_intake(workspace, limits, on_found=on_found, on_selected=on_selected)
    try:
        return Copy(intake, plan_seed(revises, intake.snapshot, limits) if revises is not None else None)
    except BaseException:
        intake.close()
        raise
