"""Takes what was applied out of the user's tree again, whole or not at all: files, branch and index as they were."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError
from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.applying.branch import find_commit, is_ancestor
from langchain_sandbox.workspace.applying.merge import look, name_state
from langchain_sandbox.workspace.applying.record import Record, read_content, read_record, write_record
from langchain_sandbox.workspace.applying.told import ApplyReport, describe_conflicts, name_some
from langchain_sandbox.workspace.applying.transaction import GitMove, Write, locked, recover_locked, transact_locked
from langchain_sandbox.workspace.content import Content, pieces
from langchain_sandbox.workspace.git import GitError, git
from langchain_sandbox.workspace.inbound.snapshot import SYMLINK

if TYPE_CHECKING:
    from pathlib import Path


def revert_changes(root: Path, folder: Path) -> ApplyReport:
    """Put a tree back as it was before `apply_changes`.

    Args:
        root: The workspace's folder.
        folder: What `record_in` was.

    Raises:
        SandboxApplyError: If nothing is known of what it was, or a path has changed since; nothing was changed then.
    """
    try:
        with locked(root), tempfile.TemporaryFile(prefix="langchain-sandbox-") as spool:
            recover_locked(root)
            record = read_record(folder)
            if record is None or not record.is_of(root):
                elsewhere = f": that is known of {record.root}" if record is not None else ""
                msg = f"Nothing is known of what {root} was before, so nothing can be put back{elsewhere}."
                raise SandboxApplyError(msg)
            writes, conflicts = [], []
            for path, (before, after) in record.paths.items():
                here = look(root, path, spool)
                now = name_state(here)
                if now == (before[:2] if before else None):
                    continue
                if now != after:
                    conflicts.append(f"{clean_name(path)}: changed since it was applied")
                elif before is None:
                    writes.append(Write(path=path, seen=here.seen if here else None, mode=None))
                else:
                    mode, blob, bits = before
                    content: Content = read_content(folder, blob, spool)
                    if mode == SYMLINK:
                        content = b"".join(pieces(content))
                    seen = here.seen if here else None
                    writes.append(Write(path=path, seen=seen, mode=mode, content=content, bits=bits))
            if conflicts:
                raise SandboxApplyError(describe_conflicts(conflicts))
            _put_back(root, record, writes)
            # Whatever the user makes of the tree from here on is theirs.
            with suppress(OSError):
                write_record(folder, Record(record.root))
            return ApplyReport(paths=sorted(clean_name(write.path) for write in writes))
    except (OSError, GitError) as error:
        if isinstance(error, SandboxConfigError):
            raise
        msg = f"The changes cannot be reverted: {error}"
        raise SandboxApplyError(msg) from error


def _put_back(root: Path, record: Record, writes: list[Write]) -> None:
    move = _find_way_back(root, record.move, writes) if record.move else None
    transact_locked(root, writes, move=move, folder_bits=record.folders)
    if record.branch is not None:
        ref, commit = record.branch
        # Only if it is still where we made it, and nobody stands on it.
        if not git(root, "for-each-ref", "--format=%(worktreepath)", ref).strip():
            git(root, "update-ref", "-d", ref, commit, check=False)


def _find_way_back(root: Path, move: GitMove, writes: list[Write]) -> GitMove | None:
    """How the branch goes back; `None` if it is not where it was moved to, and that is no matter.

    Raises:
        SandboxApplyError: If somebody has gone on from there, on the branch or in the index.
    """
    here = find_commit(root, move.ref)
    if here != move.new:
        if here != move.old and (writes or (here is not None and is_ancestor(root, move.new, here))):
            msg = f"{move.ref} has moved on since the changes were applied, so nothing was put back."
            raise SandboxApplyError(msg)
        return None
    if os.fsdecode(git(root, "symbolic-ref", "--quiet", "HEAD", check=False)).strip() != move.ref:
        msg = f"{move.ref} is not checked out any more, so nothing was put back."
        raise SandboxApplyError(msg)
    staged = git(root, "diff-index", "--cached", "--name-only", "-z", "--no-renames", move.new, "--").split(b"\0")
    changed = {line.partition(b"\t")[2] for line in move.index}.intersection(staged)
    if changed:
        names = name_some(sorted(clean_name(os.fsdecode(name)) for name in changed))
        msg = f"Something else has been staged since the changes were applied, so nothing was put back: {names}."
        raise SandboxApplyError(msg)
    return GitMove(ref=move.ref, old=move.new, new=move.old, index=move.former_index, former_index=move.index)
