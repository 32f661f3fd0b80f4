"""An earlier run's changes on their way into the next container: laid over the copy, never over the user's tree.

What they come to is worked out as it is for `apply`, three ways where the tree moved on, but against the snapshot that
goes in. In the container they are changes like the agent's own, so they come out again with these.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.applying.apply import read_files
from langchain_sandbox.workspace.applying.apply_result import find_former, open_patch
from langchain_sandbox.workspace.applying.journal import Seen
from langchain_sandbox.workspace.applying.merge import MergePlan, State
from langchain_sandbox.workspace.applying.planner import Planner
from langchain_sandbox.workspace.applying.record import Record, read_record
from langchain_sandbox.workspace.applying.told import name_some
from langchain_sandbox.workspace.content import measure
from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK, Snapshot
from langchain_sandbox.workspace.outbound.changes import Change, drop_misfits
from langchain_sandbox.workspace.outbound.patch_header import PatchFormatError
from langchain_sandbox.workspace.paths import find_link_fault, is_masked
from langchain_sandbox.workspace_config import ApplyPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.config import Limits
    from langchain_sandbox.result import SandboxResult

# Whatever they would do on this machine, in the container they do no more than any run's.
_POLICY = ApplyPolicy(commits="files", risky="allow")
_MODES = {None, FILE, EXECUTABLE, SYMLINK}
_PAGE = 4096


@dataclass(slots=True)
class Seed:
    """What goes in behind the workspace.

    Args:
        changes: Deletions first; none if all of it is in the workspace already.
        warnings: What a user should know of it.
        spool: Holds contents.
    """

    changes: list[Change] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    spool: IO[bytes] | None = None

    def close(self) -> None:
        """Let the contents go."""
        if self.spool is not None:
            self.spool.close()


def describe_change(change: Change) -> dict[str, Any]:
    """What the program in the container is told of a change; a file's content follows. Pure."""
    if change.mode is None:
        return {"path": change.path, "kind": "deleted"}
    if change.mode == SYMLINK:
        target = change.content if isinstance(change.content, bytes) else b""
        return {"path": change.path, "kind": "symlink", "target": os.fsdecode(target)}
    return {"path": change.path, "kind": "file", "executable": change.mode == EXECUTABLE}


def plan_seed(result: SandboxResult, snapshot: Snapshot, limits: Limits) -> Seed:
    """Work out what an earlier run's changes come to in a workspace as it is now.

    Args:
        result: What the earlier run gave back.
        snapshot: What goes in.
        limits: Those of the run that goes on from there.

    Raises:
        SandboxConfigError: If they do not fit, cannot be read, or are too much; it says why, and what to do.
    """
    spool = tempfile.TemporaryFile(prefix="langchain-sandbox-")  # noqa: SIM115 - the seed owns it
    seed = Seed(spool=spool)
    try:
        _fill(seed, result, snapshot, limits, spool)
    except BaseException:
        seed.close()
        raise
    return seed


def require_applied(result: SandboxResult, root: Path) -> None:
    """See that an earlier run's changes are in a folder that is going to be mounted.

    Args:
        result: What the earlier run gave back.
        root: The folder.

    Raises:
        SandboxConfigError: If they are not.
    """
    record = read_record(RunFolder.of(result.run_id).applied)
    here = result.applied and result.workspace.root == str(root)
    if result.files and not here and not (record is not None and record.paths and record.is_of(root)):
        msg = (
            f"The changes of run {result.run_id} are not in {root}, which the agent is to work in itself: apply them "
            'first, or use Workspace(mode="copy").'
        )
        raise SandboxConfigError(msg)


def _fill(seed: Seed, result: SandboxResult, snapshot: Snapshot, limits: Limits, spool: IO[bytes]) -> None:
    folder = RunFolder.of(result.run_id)
    record = read_record(folder.applied)
    if record is None or snapshot.root is None or not record.is_of(snapshot.root):
        record = Record("")
    plan = _plan(result, snapshot, folder, record, spool)
    if plan.conflicts and not record.paths:
        raise SandboxApplyError(_describe_conflicts(result.run_id, plan.conflicts))
    if plan.conflicts:
        # Whoever has applied them and then gone on by hand wants the outcome of that, not a merge with what it was.
        seed.warnings.append(
            f"The changes of run {result.run_id} were applied, and the workspace has changed since in the same places, "
            f"so it goes in as it is: {name_some(sorted(plan.conflicts))}."
        )
        return
    changes = [Change(write.path, write.mode, write.content) for write in plan.writes]
    seed.warnings += [
        f"Left out of the changes of run {result.run_id}: {clean_name(change.path)}: would configure OpenCode itself"
        for change in changes
        if is_masked(change.path)
    ]
    seed.changes = [change for change in changes if not is_masked(change.path)]
    seed.changes.sort(key=lambda change: (change.mode is not None, change.path))
    _require_fit(result.run_id, seed.changes, snapshot)
    _require_room(result.run_id, seed.changes, snapshot, limits)


def _plan(result: SandboxResult, snapshot: Snapshot, folder: RunFolder, record: Record, spool: IO[bytes]) -> MergePlan:
    with ExitStack() as opened:
        patch = open_patch(result, folder, opened)
        find_base = find_former(snapshot.root, folder, spool)
        try:
            files = read_files(patch)
            return Planner(None, partial(_look, snapshot), patch, files, find_base, spool, record).plan(_POLICY)
        except (GitError, PatchFormatError, OSError) as error:
            msg = f"The changes of run {result.run_id} cannot be laid over the workspace: {error}"
            raise SandboxApplyError(msg) from error


def _look(snapshot: Snapshot, path: str) -> State | None:
    """How a path is in the snapshot, as `merge.look` says it of a folder."""
    entry = snapshot.entries.get(path)
    if entry is None or snapshot.selection is None:
        return None
    return State(Seen.of(snapshot.selection.files[path]), entry.mode, entry.blob, snapshot.read(entry))


def _describe_conflicts(run_id: str, conflicts: list[str]) -> str:
    return (
        f"The workspace has moved on, and the changes of run {run_id} do not fit it any more: "
        f"{name_some(sorted(conflicts))}. Nothing was started. Put these paths back as they were then (`git stash`), "
        "or give the task anew, without the earlier run."
    )


def _require_fit(run_id: str, changes: list[Change], snapshot: Snapshot) -> None:
    """Refuse what no run's changes are, and what the tree has no place for any more."""
    faults: list[str] = []

    def note(path: str, reason: str) -> None:
        faults.append(f"{clean_name(path)}: {reason}")

    for change in drop_misfits(sorted(changes, key=lambda change: change.path), snapshot, skip=note):
        if change.mode not in _MODES:
            note(change.path, "neither a file nor a link")
        elif change.mode == SYMLINK and isinstance(change.content, bytes):
            fault = find_link_fault(change.path, change.content)
            if fault is not None:
                note(change.path, fault)
    if faults:
        raise SandboxApplyError(_describe_conflicts(run_id, faults))


def _require_room(run_id: str, changes: list[Change], snapshot: Snapshot, limits: Limits) -> None:
    """Refuse what would not have been let in as a part of the workspace, or could not come out again."""
    sizes = {change.path: measure(change.content) for change in changes if change.mode is not None}
    total = sum(-(-size // _PAGE) * _PAGE for size in sizes.values())
    room = limits.size("workspace") - (snapshot.selection.size if snapshot.selection is not None else 0)
    over = None
    if max(sizes.values(), default=0) > limits.size("workspace_file"):
        over = "workspace_file"
    elif total > room:
        over = "workspace"
    elif len(snapshot.entries.keys() | sizes.keys()) > limits.workspace_files:
        over = "workspace_files"
    elif sum(sizes.values()) > limits.size("changes"):
        over = "changes"
    if over is not None:
        msg = (
            f"The changes of run {run_id} are more than Limits.{over} allows of together with the workspace; raise the "
            "limit."
        )
        raise SandboxConfigError(msg)
