"""Puts a result's changes into the user's tree, whole or not at all."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.applying.delivery import Delivery, plan_delivery
from langchain_sandbox.workspace.applying.merge import MergePlan, look
from langchain_sandbox.workspace.applying.planner import Planner
from langchain_sandbox.workspace.applying.record import Record, find_folder_bits, keep_former, read_record, write_record
from langchain_sandbox.workspace.applying.told import ApplyReport, describe_conflicts
from langchain_sandbox.workspace.applying.transaction import locked, recover_locked, transact_locked
from langchain_sandbox.workspace.content import Content, blob_name, pieces
from langchain_sandbox.workspace.git import GitError, git
from langchain_sandbox.workspace.outbound.patch_header import PatchedFile, PatchFormatError, parse_patch
from langchain_sandbox.workspace.paths import find_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_sandbox.workspace.applying.delivery import BundledCommits
    from langchain_sandbox.workspace_config import ApplyPolicy

_GONE = "000000"
_SCANNED = 1024 * 1024
_LONGEST = 100_000  # more than the longest path that find_fault lets pass, written twice as git writes it


def apply_changes(
    root: Path,
    patch: Content,
    *,
    find_base: Callable[[str], Content | None],
    policy: ApplyPolicy,
    commits: BundledCommits | None = None,
    record_in: Path | None = None,
) -> ApplyReport:
    """Apply a patch, and the commits that belong to it.

    Everything is worked out and written beside the tree first; the tree is touched only when all of it is known to
    fit. What an earlier process left undone is finished or undone before.

    Args:
        root: The workspace's folder.
        patch: As `build_patch` made it.
        find_base: Finds a former content by git's name for it, where it is not in the tree any more.
        policy: What to do where the tree moved on, with commits, and with risky changes.
        commits: The commits that the agent made.
        record_in: A folder that gets what `revert_changes` needs.

    Raises:
        SandboxApplyError: If it does not fit, or cannot be written; then nothing was changed.
    """
    with locked(root), tempfile.TemporaryFile(prefix="langchain-sandbox-") as spool:
        recover_locked(root)
        kept = read_record(record_in) if record_in is not None else None
        former = Record(str(root))
        if kept is not None and kept.is_of(root):
            former = replace(kept, root=str(root))
        try:
            files = read_files(patch)
            delivery = plan_delivery(root, commits, policy) if commits is not None else Delivery()
            plan = MergePlan()
            if policy.commits != "branch":
                here = partial(look, root, spool=spool)
                plan = Planner(root, here, patch, files, find_base, spool, former).plan(policy)
        except (GitError, PatchFormatError, OSError) as error:
            msg = f"The changes cannot be applied: {error}"
            raise SandboxApplyError(msg) from error
        if plan.conflicts:
            raise SandboxApplyError(describe_conflicts(plan.conflicts))
        report = ApplyReport(
            paths=sorted(clean_name(write.path) for write in plan.writes),
            merged=sorted(map(clean_name, plan.merged)),
            forwarded=delivery.move.ref.removeprefix("refs/heads/") if delivery.move else None,
            branch=delivery.branch.removeprefix("refs/heads/") if delivery.branch else None,
        )
        if plan.writes or delivery.needed:
            with _recorded(record_in, kept, former, plan, delivery):
                _carry_out(root, plan, delivery)
        return report


@contextmanager
def _recorded(
    folder: Path | None, kept: Record | None, former: Record, plan: MergePlan, delivery: Delivery
) -> Iterator[None]:
    """Keep what the tree is before the block changes it; if the block fails, what was kept before counts again.

    Raises:
        SandboxApplyError: If it cannot be kept.
    """
    if folder is None:
        yield
        return
    try:
        record = Record(
            former.root,
            former.paths | keep_former(folder, plan),
            delivery.move or former.move,
            (delivery.branch, delivery.head) if delivery.branch else former.branch,
            former.folders | find_folder_bits(Path(former.root), plan),
        )
        write_record(folder, record)
    except OSError as error:
        msg = f"The changes cannot be applied: {error}; nothing was changed."
        raise SandboxApplyError(msg) from error
    try:
        yield
    except SandboxApplyError:
        with suppress(OSError):
            write_record(folder, kept)
        raise


def _carry_out(root: Path, plan: MergePlan, delivery: Delivery) -> None:
    try:
        delivery.fetch()
    except (OSError, GitError) as error:
        msg = f"The changes cannot be applied: {error}; nothing was changed."
        raise SandboxApplyError(msg) from error
    try:
        transact_locked(root, plan.writes, move=delivery.move)
    except SandboxApplyError:
        delivery.drop()
        raise


def find_in_repository(root: Path) -> Callable[[str], Content | None]:
    """Finds contents in a folder's git repository, by git's names for them; nothing where there is none."""

    def find(blob: str) -> Content | None:
        content = git(root, "cat-file", "blob", blob, check=False)
        return content if blob_name(content) == blob else None

    return find


def read_files(patch: Content) -> list[PatchedFile]:
    """What a patch says of each file.

    Raises:
        PatchFormatError: If it is no patch as `build_patch` makes them.
        SandboxApplyError: If it changes what is nobody's to change.
    """
    files = parse_patch(_lines(patch))
    for file in files:
        for path in (file.path, file.old_path):
            fault = find_fault(path) if path is not None else None
            if fault is not None:
                msg = f"The patch changes {path!r}, which is {fault}; nothing was changed."
                raise SandboxApplyError(msg)
    return files


def _lines(patch: Content) -> Iterator[str]:
    """The beginning of each line of the patch, as git counts lines: by line feeds alone.

    A file may be one line. Headers are plain ASCII and shorter; nobody looks at more of a content than that.
    """
    rest = b""
    for piece in pieces(patch):
        *lines, last = piece.split(b"\n")
        for line in lines:
            yield (rest + line[:_LONGEST])[:_LONGEST].decode("ascii", "replace")
            rest = b""
        rest = (rest + last[:_LONGEST])[:_LONGEST]
    if rest:
        yield rest.decode("ascii", "replace")
