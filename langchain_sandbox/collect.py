"""What a run has changed: told as a patch and as commits, kept in its folder, and what is wrong with it said."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from langchain_sandbox.outcome import ON_HOST
from langchain_sandbox.workspace.carriage import Carriage, Yield
from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.inbound.repository import Repository
from langchain_sandbox.workspace.outbound.commits import CommitsError, read_commits
from langchain_sandbox.workspace.outbound.keep import keep_changes
from langchain_sandbox.workspace.outbound.patch import Patch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.keeper import Keeper
    from langchain_sandbox.report import Report
    from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver

_SHOWN = 5


class Collector:
    """Takes in what one run has changed, when its container is gone.

    Args:
        report: Learns of the commits, and of what was lost.
        keeper: Keeps what came.
        changes: What is to become of it.
        warn: Called with what a user should know.
    """

    def __init__(self, report: Report, keeper: Keeper, *, changes: ChangesPolicy, warn: Callable[[str], None]) -> None:
        self._report = report
        self._keeper = keeper
        self._changes = changes
        self._warn = warn

    def collect(self, carriage: Carriage, receiver: ChangesReceiver) -> Yield:
        """Everything that is to be had; blocks for as long as the disk and git do.

        Args:
            carriage: The workspace.
            receiver: Has what came over the link.
        """
        left = [f"A change stayed behind: {reason}" for reason in self._report.left_inside()]
        if self._report.claim is None and not carriage.intake.mounted:
            left.append("The container did not get to say that all was sent, so the last changes may be missing.")
        if carriage.intake.mounted and not self._report.cleanup_confirmed:
            left.append("The container may still be there and change the workspace; look at it with `docker ps`.")
        try:
            harvest = carriage.collect(receiver)
        except (OSError, GitError) as error:
            self._report.note_loss(error, place=_find_place())
            return Yield([], Patch())
        if receiver.lost is not None:
            self._report.note_loss(receiver.lost, place=_find_place())
        for warning in [*left, *harvest.warnings]:
            self._warn(warning)
        if self._changes == "discard":
            harvest.close()
            return Yield([], Patch())
        self._keep(carriage, harvest)
        return harvest

    def _keep(self, carriage: Carriage, harvest: Yield) -> None:
        snapshot = carriage.intake.snapshot
        kept = self._keeper.keep(
            lambda folder: keep_changes(
                folder, patch=harvest.patch, changes=harvest.changes, snapshot=snapshot, bundle=harvest.bundle
            )
        )
        if kept and carriage.intake.mounted:
            kept = self._keeper.keep(lambda folder: carriage.settle(harvest, folder))
        if harvest.bundle is None:
            return
        if kept and self._keeper.folder is not None:
            self._take_commits(self._keeper.folder.bundle, carriage)
        else:
            self._warn("The agent's commits are not kept, since nothing of the run is; its files are in the patch.")

    def _take_commits(self, bundle: Path, carriage: Carriage) -> None:
        selection, history = carriage.intake.snapshot.selection, carriage.intake.history
        if selection is None or selection.repository is None:
            return
        repository = selection.repository
        began = Repository(repository.top, repository.prefix, history.head if history is not None else None)
        try:
            commits = read_commits(bundle, began)
        except (CommitsError, GitError) as error:
            self._warn(f"The agent's commits stayed behind, and its files are in the patch: {error}")
            return
        self._report.commits = commits.commits
        carriage.note_head(commits.head)
        if not commits.forward:
            self._warn("The agent rewrote commits that were there before: apply makes a branch of what it made.")
        if commits.branches:
            named = ", ".join(commits.branches[:_SHOWN])
            self._warn(f"The agent also made commits on other branches ({named}), which only {bundle} has.")


def _find_place() -> str:
    """Where changes are until they are kept."""
    return f"{tempfile.gettempdir()}{ON_HOST}"
