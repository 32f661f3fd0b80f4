"""The workspace's way in, as a whole: what belongs to it, its contents, and its repository's history."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.inbound.history import History, Inquiry, take_history
from langchain_sandbox.workspace.inbound.selection import Selection, begin_selection, fill_selection, list_files
from langchain_sandbox.workspace.inbound.snapshot import Snapshot, fill_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.config import Limits
    from langchain_sandbox.workspace_config import Workspace

_HELPERS = 4


@dataclass(slots=True)
class Intake:
    """What goes into a container.

    Args:
        snapshot: The files.
        history: The repository's; `None` where there is none, or it stayed outside.
        warnings: What a user should know of what went in and what did not.
        mounted: Whether the container has the folder itself, so that nothing is sent.
    """

    snapshot: Snapshot
    history: History | None = None
    mounted: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """Where the files belong in the repository: empty for its root, else such as `packages/a/`."""
        if self.mounted:
            return ""  # the mounted folder is all that there is
        return self.snapshot.selection.folder if self.snapshot.selection is not None else ""

    def close(self) -> None:
        """Let all of it go."""
        self.snapshot.close()
        if self.history is not None:
            self.history.close()


def take_intake(
    workspace: Workspace | None,
    limits: Limits,
    *,
    on_found: Callable[[Selection], None] | None = None,
    on_selected: Callable[[Selection], None] | None = None,
) -> Intake:
    """Read a workspace: its files, and beside them its history.

    Args:
        workspace: The folder, and what of it; `None` for nothing at all.
        limits: Bounds what may go in.
        on_found: Called as soon as it is known where the files belong, and nothing else.
        on_selected: Called as soon as it is known which files go in, before they are read.

    Raises:
        SandboxConfigError: If it is no folder, cannot be read, or is too big; the message names the biggest files.
    """
    if workspace is None:
        return Intake(fill_snapshot(None))
    # Git has processes of its own, so a second core has something to do while we read.
    with ThreadPoolExecutor(_HELPERS) as helpers:
        listed = helpers.submit(list_files, workspace.path)  # while it is found out whether there is a repository
        selection = begin_selection(workspace)
        if on_found is not None:
            on_found(selection)
        inquiry = Inquiry.begin(selection, depth=workspace.history, helpers=helpers)
        fill_selection(selection, workspace, limits, listed=listed)
        if on_selected is not None:
            on_selected(selection)
        room = limits.size("workspace") - selection.size
        packing = helpers.submit(take_history, selection, inquiry, room=room)
        try:
            intake = Intake(fill_snapshot(selection))
        except BaseException:
            _drop(packing)
            raise
    intake.warnings += [f"Left out on the way in: {reason}" for reason in intake.snapshot.skipped]
    intake.warnings += intake.snapshot.notes
    try:
        intake.history = packing.result()
        if intake.history is not None:
            intake.history.compare(intake.snapshot)
            intake.warnings += intake.history.warnings
    except (GitError, OSError) as error:
        intake.warnings.append(f"The repository's history stayed behind: {error}")
        if intake.history is not None:
            intake.history.close()
            intake.history = None
    except BaseException:
        intake.close()
        raise
    return intake


def _drop(packing: Future[History | None]) -> None:
    with suppress(GitError, SandboxConfigError, OSError):
        history = packing.result()
        if history is not None:
            history.close()
