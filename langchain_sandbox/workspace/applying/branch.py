"""A branch and the index, moved together with a transaction's files, and moved back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.git import GitError, git

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from langchain_sandbox.workspace.applying.journal import GitMove
    from langchain_sandbox.workspace.applying.tree import Tree

_PATIENCE = 2.0
_RETRY = 0.05
_BUSY = "Another git process"  # what git says of a lock that it finds, whichever it is
_REASON = "langchain-sandbox: commits of a run"
_REASON_BACK = "langchain-sandbox: put back"


class BusyError(GitError):
    """Another git has the repository's lock, or left it behind."""


def find_commit(root: Path, ref: str) -> str | None:
    """The commit where a branch is; `None` if there is no such branch."""
    found = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", ref, check=False)
    return found.decode("ascii").strip() or None


def is_ancestor(root: Path, old: str, new: str) -> bool:
    """Whether one commit is reached from another."""
    try:
        git(root, "merge-base", "--is-ancestor", old, new)
    except GitError:
        return False
    return True


def move_branch(tree: Tree, move: GitMove) -> None:
    """Move a branch and the index; a second time does no harm.

    Raises:
        SandboxApplyError: If the branch is neither where it was nor where it goes.
        BusyError: If another git has a lock, and keeps it.
        GitError: If git fails otherwise. Then, too, both are as they were.
    """
    here = find_commit(tree.root, move.ref)
    if here not in {move.old, move.new}:
        if here is not None and is_ancestor(tree.root, move.new, here):
            return  # it was moved, and somebody has gone on from there
        msg = f"{move.ref} is not at {move.old} any more"
        raise SandboxApplyError(msg)
    if here == move.old:
        _move(tree, move.ref, move.old, move.new, _REASON)
    try:
        _write_index(tree, move.index)
    except GitError:
        # The index is written whole or not at all.
        if here == move.old:
            _move(tree, move.ref, move.new, move.old, _REASON_BACK)
        raise


def move_branch_back(tree: Tree, move: GitMove) -> None:
    """Undo `move_branch`, unless somebody has moved the branch since.

    Raises:
        BusyError: If another git has a lock, and keeps it.
        GitError: If git fails otherwise.
    """
    if find_commit(tree.root, move.ref) == move.new:
        _write_index(tree, move.former_index)
        _move(tree, move.ref, move.new, move.old, _REASON_BACK)


def _move(tree: Tree, ref: str, old: str, new: str, reason: str) -> None:
    _run(tree, "update-ref", "-m", reason, ref, new, old)


def _write_index(tree: Tree, lines: Sequence[bytes]) -> None:
    # What is removed first: a folder may take a file's place.
    ordered = sorted(lines, key=lambda line: not line.lstrip(b"0").startswith(b" "))
    if ordered:
        _run(tree, "update-index", "-z", "--index-info", stdin=b"".join(line + b"\0" for line in ordered))


def _run(tree: Tree, *arguments: str, stdin: bytes = b"") -> None:
    """Run git, again and again while another one has the lock that it needs."""
    tree.step(f"git {arguments[0]}")
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            git(tree.root, *arguments, stdin=stdin)
        except GitError as error:
            if _BUSY not in str(error):
                raise
            if time.monotonic() > deadline:
                msg = (
                    f"another git is at work in {tree.root}, or one that was killed left its lock behind: "
                    f"{str(error).splitlines()[0].rstrip('.')}"
                )
                raise BusyError(msg) from error
            time.sleep(_RETRY)
        else:
            return
