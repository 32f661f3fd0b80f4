"""A committed transaction, carried out or undone, from whatever point an earlier process had come to.

What was done already is read from the tree itself: a path was taken away if it lies in `old`, and was put there if
the file at it is the staged one. So each step can be repeated, and any process can go on where another one ended.
"""

from __future__ import annotations

import contextlib
import itertools
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError
from langchain_sandbox.untrusted import clean_name, show_controls
from langchain_sandbox.workspace.applying.branch import move_branch, move_branch_back
from langchain_sandbox.workspace.applying.journal import BACK, NEW, OLD, PathMove, Plan, Seen
from langchain_sandbox.workspace.applying.tree import naming
from langchain_sandbox.workspace.git import GitError

if TYPE_CHECKING:
    from langchain_sandbox.workspace.applying.tree import Tree

_ASIDE = ".before-apply"


@dataclass(slots=True)
class Undone:
    """What came of undoing.

    Args:
        aside: What somebody else changed meanwhile and was left alone, as sentences that say where the former
            content is.
        stuck: What could not be put back, and why; the former contents are still in the staging folder.
    """

    aside: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)


def show(path: str) -> str:
    """A path for a message."""
    return show_controls(clean_name(path))


def go_forward(tree: Tree, plan: Plan) -> None:
    """Do what is not done yet.

    Raises:
        SandboxApplyError: If a path or the branch is not as it has to be.
        OSError: If a system call fails.
        GitError: If git does.
    """
    numbered = list(enumerate(plan.moves))
    for number, move in numbered:
        if move.staged is None:
            with naming(move.path):
                _take(tree, number, move)
    for folder, bits in plan.made:
        if tree.look(folder) is None:  # if it is a file, placing says so
            with naming(folder):
                tree.make_folder(folder, 0o777 if bits is None else bits | 0o700)
    for number, move in numbered:
        if move.staged is not None:
            with naming(move.path):
                _take(tree, number, move)
                _place(tree, number, move, move.staged)
    if plan.branch is not None:
        move_branch(tree, plan.branch)
    # Who had a file open and wrote to it meanwhile wrote to what was taken away.
    for number, move in numbered:
        _look_at_taken(tree, number, move)


def finish(tree: Tree, plan: Plan) -> None:
    """Remove the folders that a done transaction left empty, and give those that it made their permissions."""
    for folder in plan.emptied:
        with contextlib.suppress(OSError):
            tree.remove_folder(folder)
    for folder, bits in reversed(plan.made):
        if bits is not None:  # not before: it may be a folder that nothing can be put into, or taken out of
            with contextlib.suppress(OSError):
                tree.set_folder_bits(folder, bits)


def go_back(tree: Tree, plan: Plan) -> Undone:
    """Undo what was done, last first; what somebody else changed meanwhile is left alone."""
    undone = Undone()
    if plan.branch is not None:
        try:
            move_branch_back(tree, plan.branch)
        except (GitError, SandboxConfigError) as error:
            undone.stuck.append(f"{show(plan.branch.ref)} ({error})")
    numbered = list(reversed(list(enumerate(plan.moves))))
    for number, move in numbered:
        if move.staged is not None:
            _undo(tree, number, move, undone)
    for folder, _ in reversed(plan.made):
        with contextlib.suppress(OSError):
            tree.remove_folder(folder)
    for number, move in numbered:
        if move.staged is None:
            _undo(tree, number, move, undone)
    return undone


def holds_files(tree: Tree, folder: str) -> bool:
    """Whether there is anything but folders below a folder."""
    return not all(is_folder for _, is_folder in tree.walk(folder))


def _take(tree: Tree, number: int, move: PathMove) -> None:
    """Take away what is at a path. Whatever it is by then: what was taken can be looked at and put back."""
    if move.seen is None and not move.folder:
        return
    if tree.look(f"{OLD}/{number}") is None:
        if not _is_as_seen(tree, move.path, move):
            raise SandboxApplyError(_describe_change(move))
        tree.rename(move.path, f"{OLD}/{number}")
    _look_at_taken(tree, number, move)


def _look_at_taken(tree: Tree, number: int, move: PathMove) -> None:
    if (move.seen is not None or move.folder) and not _is_as_seen(tree, f"{OLD}/{number}", move):
        raise SandboxApplyError(_describe_change(move))


def _is_as_seen(tree: Tree, path: str, move: PathMove) -> bool:
    status = tree.look(path)
    if status is None:
        return False
    if stat.S_ISDIR(status.st_mode):
        return move.folder and not holds_files(tree, path)
    return Seen.of(status) == move.seen


def _place(tree: Tree, number: int, move: PathMove, staged: Seen) -> None:
    """Put a staged file where it belongs, never over anything."""
    here = tree.look(move.path)
    if here is not None and staged.is_same_file(here):
        return
    if here is not None:
        raise SandboxApplyError(_describe_change(move))
    new = tree.look(f"{NEW}/{number}")
    if new is None or Seen.of(new) != staged:
        msg = f"the new content of {show(move.path)} is not as it was written"
        raise SandboxApplyError(msg)
    try:
        tree.place(f"{NEW}/{number}", move.path)
    except FileExistsError as error:
        raise SandboxApplyError(_describe_change(move)) from error


def _undo(tree: Tree, number: int, move: PathMove, undone: Undone) -> None:
    try:
        former = tree.look(f"{OLD}/{number}")
        if move.staged is not None:
            _withdraw(tree, number, move.path, move.staged, undone)
            here = tree.look(move.path)
            if here is not None and move.staged.is_same_file(here) and former is None:
                undone.aside.append(f"{show(move.path)} was changed after it was put there, and left so")
        if former is not None:
            _put_back(tree, f"{OLD}/{number}", move.path, undone)
    except OSError as error:
        undone.stuck.append(f"{show(move.path)} ({error.strerror})")


def _withdraw(tree: Tree, number: int, path: str, staged: Seen, undone: Undone) -> None:
    """Remove what we put at a path, if nobody has touched it since."""
    here = tree.look(path)
    if here is not None and Seen.of(here) == staged:
        # Taken away first and looked at then, as everything that could be somebody's work.
        tree.rename(path, f"{BACK}/{number}")
    taken = tree.look(f"{BACK}/{number}")
    if taken is not None and Seen.of(taken) != staged:
        _put_back(tree, f"{BACK}/{number}", path, undone)


def _put_back(tree: Tree, taken: str, path: str, undone: Undone) -> None:
    """Put what was taken away where it was, or aside where somebody else has put something there."""
    what, here = tree.look(taken), tree.look(path)
    if what is None:
        return
    if here is None or not Seen.of(what).is_same_file(here):  # else it was killed between linking and unlinking
        try:
            tree.place(taken, path)
        except (FileExistsError, FileNotFoundError, NotADirectoryError):
            aside = show(_put_aside(tree, taken, path))
            undone.aside.append(f"{show(path)} was changed meanwhile and left so; what it was before is in {aside}")
    if tree.look(taken) is not None:
        tree.unlink(taken)


def _put_aside(tree: Tree, taken: str, path: str) -> str:
    """Put a former content beside its path, or into the root where that folder is gone; return where."""
    folder, _, name = path.rpartition("/")
    status = tree.look(folder) if folder else None
    beside = path if status is not None and stat.S_ISDIR(status.st_mode) else name
    for count in itertools.count():
        aside = f"{beside}{_ASIDE}{count or ''}"
        with contextlib.suppress(FileExistsError):
            tree.place(taken, aside)
            break
    return aside


def _describe_change(move: PathMove) -> str:
    if move.folder:
        return f"{show(move.path)} is to become a file, and something was put into that folder meanwhile"
    return f"{show(move.path)} was changed meanwhile"
