"""Several files of a tree changed together: all or none, even if the process is killed or the disk is full.

Everything new is written first, into a folder in the tree's root, with a journal beside it: so the room is taken
before anything is touched. Then the journal is marked as committed, what is there now is moved into that folder, and
what is new is moved out of it: renames and links, which need no room to speak of. The former files themselves lie
there until the end, so that putting them back is a rename, too. Whoever comes next finishes or undoes what a killed
process left. A power cut is another matter: nothing is synced to the disk, as with git's own checkout.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError
from langchain_sandbox.workspace.applying.journal import (
    OLD,
    GitMove,
    Plan,
    Seen,
    State,
    clear,
    is_done,
    mark,
    read_journal,
)
from langchain_sandbox.workspace.applying.moves import finish, go_back, go_forward, show
from langchain_sandbox.workspace.applying.staging import Write, stage
from langchain_sandbox.workspace.applying.tree import Tree
from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.paths import STAGING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "STAGING",
    "GitMove",
    "Seen",
    "Write",
    "locked",
    "recover",
    "recover_locked",
    "transact",
    "transact_locked",
]

_LOCK_LIMIT = 10.0
_LOCK_RETRY = 0.02


@contextmanager
def locked(root: Path, *, limit: float = _LOCK_LIMIT) -> Iterator[None]:
    """Only one process, and only one thread, changes a tree at a time. It cannot be taken twice.

    Args:
        root: The tree's folder; the lock is on it, so no file for it is left anywhere.
        limit: Seconds to wait for who has it.

    Raises:
        SandboxApplyError: If somebody else still has it then, or the folder cannot be opened.
    """
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        msg = f"The workspace {root} cannot be opened: {error.strerror}."
        raise SandboxApplyError(msg) from error
    try:
        deadline = time.monotonic() + limit
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                msg = f"Another program has had the lock of the workspace {root} for {limit:g} s; nothing was changed."
                raise SandboxApplyError(msg)
            time.sleep(_LOCK_RETRY)
        yield
    finally:
        # A process forked meanwhile has the descriptor, too: closing ours alone would not let go.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def transact(root: Path, writes: Sequence[Write], *, move: GitMove | None = None) -> None:
    """Give several paths their new states, all or none.

    What an earlier process left undone is finished or undone first.

    Args:
        root: The tree's folder.
        writes: What is to be there.
        move: A branch of the repository in `root` that goes with them.

    Raises:
        SandboxApplyError: If it cannot be done; then nothing was changed, and what somebody else changed meanwhile
            was left alone.
        SandboxConfigError: If a branch is to move, and there is no git.
    """
    with locked(root):
        transact_locked(root, writes, move=move)


def recover(root: Path) -> Literal["finished", "rolled back"] | None:
    """Finish or undo what a killed process left; one look at the folder where there is nothing.

    Args:
        root: The tree's folder.

    Returns:
        What was done; `None` if there was nothing to do.

    Raises:
        SandboxApplyError: If what is there is not ours, if somebody else changed a path meanwhile, or if something
            cannot be put back; the message says what is where.
    """
    try:
        os.lstat(root / STAGING)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # opening says it better
    with locked(root):
        return recover_locked(root)


def recover_locked(root: Path) -> Literal["finished", "rolled back"] | None:
    """The same, for a caller who has the lock.

    Raises:
        SandboxApplyError: As `recover`.
    """
    try:
        with Tree(root) as tree:
            if tree.look(STAGING) is None:
                return None
            state, plan = read_journal(tree)
            if state == "none":  # just made, or all but removed: there is nothing to tell which, and nothing to do
                clear(tree, old="must be empty")
                return None
            return _recover(tree, state, plan)
    except OSError as error:
        msg = (
            f"What an interrupted change left in {root / STAGING} cannot be dealt with: {_describe(error)}. "
            "Nothing is lost; the next call tries again."
        )
        raise SandboxApplyError(msg) from error


def transact_locked(
    root: Path,
    writes: Sequence[Write],
    *,
    move: GitMove | None = None,
    folder_bits: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """The same as `transact`, for a caller who has the lock.

    Args:
        root: The tree's folder.
        writes: What is to be there.
        move: A branch that goes with them.
        folder_bits: Exact permissions of folders, where they have to be made.

    Raises:
        SandboxApplyError: As `transact`.
    """
    recover_locked(root)
    if not writes and move is None:
        return
    try:
        with Tree(root) as tree:
            _carry_out(tree, stage(tree, writes, move, folder_bits))
    except (OSError, ValueError, GitError) as error:
        if isinstance(error, SandboxConfigError):
            raise
        msg = f"The changes could not be written: {_describe(error)}; nothing was changed."
        raise SandboxApplyError(msg) from error


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # NFS knows no lock on a folder: better without than not at all
    return True


def _describe(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return f"{show(error.filename)}: {error.strerror}" if isinstance(error.filename, str) else str(error.strerror)


def _recover(tree: Tree, state: State, plan: Plan) -> Literal["finished", "rolled back"]:
    if state == "committed":
        try:
            go_forward(tree, plan)
            mark(tree, "done")
        except (OSError, GitError, SandboxConfigError) as error:
            _undo(tree, plan, error if isinstance(error, SandboxApplyError) else None)
            return "rolled back"
        state = "done"
    if state == "done":
        finish(tree, plan)
        clear(tree, old="drop")
        return "finished"
    if state == "undoing":
        _undo(tree, plan, None)
    else:
        clear(tree, old="must be empty")
    return "rolled back"


def _carry_out(tree: Tree, plan: Plan) -> None:
    """Do what is staged, or put everything back."""
    try:
        go_forward(tree, plan)
        mark(tree, "done")
    except BaseException as error:
        if is_done(tree):  # interrupted in the very moment
            raise
        _undo(tree, plan, error if isinstance(error, OSError | GitError | SandboxConfigError) else None)
        raise
    with contextlib.suppress(OSError):  # it is done: what cannot be removed now is removed by the next call
        finish(tree, plan)
        clear(tree, old="drop")


def _undo(tree: Tree, plan: Plan, reason: Exception | None) -> None:
    """Put everything back.

    Raises:
        SandboxApplyError: If there is a reason, or something could not be put back or not at its place.
    """
    # It may be marked already; and without the mark, what a process killed from here on leaves is finished: whole, too.
    with contextlib.suppress(OSError):
        mark(tree, "undoing")
    undone = go_back(tree, plan)
    said = [_describe(reason)] if reason else []
    said += undone.aside
    if undone.stuck:
        said.append(
            f"these could not be put back: {', '.join(undone.stuck)}. The former contents are in {tree.root / OLD}; "
            "see to it that they can be written, and the next call puts them back"
        )
    else:
        clear(tree, old="must be empty")
        said.append("everything else was put back" if undone.aside else "everything was put back")
    if reason or undone.aside or undone.stuck:
        msg = f"{'; '.join(said)}."
        raise SandboxApplyError(msg) from reason
