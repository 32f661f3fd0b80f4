"""What a transaction is going to do, written down so that another process can finish or undo it.

The journal lies in the user's tree, so it is not trusted: it holds no names of staged files (they are numbers, the
places in its own list), its paths are checked like a container's, and it names the inode of the folder that it lies
in, which nobody knows who made it elsewhere and had it copied, unpacked or checked out.

The folder's states, each reached by one atomic rename::

    no journal, nothing else    just made, or almost removed
    journal.json "staging"      new contents are being written; the tree is as it was
    journal.json "committed"    everything is staged; a killed process' work is finished
    undo.json                   something was in the way; a killed process' work is undone
    done.json                   the tree is as it should be, what is left is to clean up

The last two are the file itself under another name: marking them needs no room, on a full disk either.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.paths import STAGING, find_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_sandbox.workspace.applying.tree import Tree

NEW = f"{STAGING}/new"
OLD = f"{STAGING}/old"
BACK = f"{STAGING}/back"

State = Literal["none", "staging", "committed", "undoing", "done"]

_JOURNAL = f"{STAGING}/journal.json"
_BESIDE = f"{STAGING}/journal.json.new"
_IGNORE = f"{STAGING}/.gitignore"
_MARKS: dict[Literal["undoing", "done"], str] = {"undoing": f"{STAGING}/undo.json", "done": f"{STAGING}/done.json"}
_VERSION = 1
_T = TypeVar("_T")
_LIMIT = 256 * 1024 * 1024
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BRANCHES = "refs/heads/"


@dataclass(frozen=True, slots=True)
class Seen:
    """How a path looked when its content was read: what tells that nobody has touched it since.

    Args:
        mode: As `lstat` gives it, kind of file and permissions.
        size: Bytes.
        mtime_ns: Time of the last change of the content, nanoseconds.
        inode: Which file on the device.
        device: Which device.
    """

    mode: int
    size: int
    mtime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """What a call of `lstat` says."""
        return cls(status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)

    def is_same_file(self, status: os.stat_result) -> bool:
        """Whether it is the same file, whatever was done to it since."""
        return (self.inode, self.device) == (status.st_ino, status.st_dev)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitMove:
    """A branch that moves with the files.

    Args:
        ref: Its full name, `refs/heads/...`.
        old: The commit where it has to be now.
        new: The commit where it goes.
        index: Lines for `git update-index -z --index-info` that make the index the new one.
        former_index: Lines that put the index back.
    """

    ref: str
    old: str
    new: str
    index: Sequence[bytes]
    former_index: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMove:
    """What becomes of one path.

    Args:
        path: The path.
        seen: What is taken away; `None` where nothing is there.
        folder: Whether a folder is there, without any file by then, and is taken away.
        staged: What is put there; `None` for a path that is deleted.
    """

    path: str
    seen: Seen | None
    folder: bool
    staged: Seen | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a transaction does.

    Args:
        moves: The paths, in the order in which they move; a path's place in it is the name of its staged file.
        made: Folders that are not there yet, outer ones first, each with its exact permissions; `None` for what the
            umask gives.
        emptied: Folders that go if they are empty then, inner ones first.
        branch: The branch that moves with them.
    """

    moves: tuple[PathMove, ...] = ()
    made: tuple[tuple[str, int | None], ...] = ()
    emptied: tuple[str, ...] = ()
    branch: GitMove | None = None


def find_path_fault(path: str) -> str | None:
    """Why a transaction must not touch a path, or `None` if it may."""
    try:
        fault = find_fault(path)
    except UnicodeError:
        return "not a name that a file can have"
    if fault is None and path.partition("/")[0].casefold() == STAGING:
        return "in the folder that a change in progress has"
    return fault


def find_branch_fault(move: GitMove) -> str | None:
    """Why a transaction must not move a branch so, or `None` if it may."""
    if not move.ref.startswith(_BRANCHES) or "\0" in move.ref:
        return "not the full name of a branch"
    if not all(map(_COMMIT.fullmatch, (move.old, move.new))):
        return "not moved from one commit to another"
    if any(b"\0" in line for line in (*move.index, *move.former_index)):
        return "moved with lines for its index that hold a NUL"
    return None


def begin(tree: Tree) -> None:
    """Fill a staging folder just made, in the state "staging".

    Raises:
        OSError: If it cannot be written to.
    """
    # Whoever does not come back here soon does not add it to a commit, at least.
    tree.create(_IGNORE, b"*\n", mode=stat.S_IFREG, bits=0o600, like=None)
    _write(tree, "staging", Plan())
    for folder in (NEW, OLD, BACK):
        tree.make_folder(folder, 0o700)


def commit(tree: Tree, plan: Plan) -> None:
    """From here on, what a killed process leaves is finished.

    Raises:
        OSError: If it cannot be written; then it is not committed.
    """
    _write(tree, "committed", plan)


def mark(tree: Tree, state: Literal["undoing", "done"]) -> None:
    """Bring a committed transaction to its next state."""
    tree.rename(_JOURNAL, _MARKS[state])


def is_done(tree: Tree) -> bool:
    """Whether a transaction is marked as done."""
    return tree.look(_MARKS["done"]) is not None


def read_journal(tree: Tree) -> tuple[State, Plan]:
    """Read what was left in the staging folder, and check that it is ours.

    Raises:
        SandboxApplyError: If it is not, or makes no sense.
        OSError: If it cannot be read.
    """
    status = tree.look(STAGING)
    if status is None or not stat.S_ISDIR(status.st_mode):
        raise SandboxApplyError(_describe_nonsense(tree, "it is no folder"))
    if status.st_uid != os.geteuid():
        raise SandboxApplyError(_describe_nonsense(tree, f"it belongs to another user ({status.st_uid})"))
    names = {path for path, _ in tree.entries(STAGING)}
    found = sorted(names & {_JOURNAL, *_MARKS.values()})
    if not found and names <= {_BESIDE, _IGNORE}:
        return "none", Plan()
    if len(found) != 1:
        raise SandboxApplyError(_describe_nonsense(tree, "it has no journal, or several"))
    try:
        value = json.loads(tree.read(found[0], _LIMIT))
        state, inode, plan = _parse(value, status.st_dev)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SandboxApplyError(_describe_nonsense(tree, "its journal makes no sense")) from error
    if inode != status.st_ino:
        raise SandboxApplyError(_describe_nonsense(tree, "it is a copy, or somebody else made it"))
    for marked, name in _MARKS.items():
        if found == [name]:
            return marked, plan
    return state, plan


def clear(tree: Tree, *, old: Literal["drop", "must be empty"]) -> None:
    """Remove the staging folder, its journal last.

    Args:
        tree: Where it is.
        old: What was taken away may be dropped only once everything is done.

    Raises:
        OSError: If something cannot be removed; the next call goes on from there.
    """
    tree.remove(NEW)
    tree.remove(BACK)
    if old == "drop":
        tree.remove(OLD)
    elif tree.look(OLD) is not None:
        tree.remove_folder(OLD)
    for name in (_BESIDE, _IGNORE, _JOURNAL, *_MARKS.values()):
        if tree.look(name) is not None:
            tree.unlink(name)
    tree.remove_folder(STAGING)


def _write(tree: Tree, state: Literal["staging", "committed"], plan: Plan) -> None:
    """Write the journal beside and put it in place: it is never half there."""
    status = tree.look(STAGING)
    inode = status.st_ino if status else 0
    text = json.dumps({"version": _VERSION, "state": state, "inode": inode, **_build(plan)})
    tree.create(_BESIDE, text.encode("ascii"), mode=stat.S_IFREG, bits=0o600, like=None)
    tree.rename(_BESIDE, _JOURNAL)


def _build(plan: Plan) -> dict[str, Any]:
    branch = plan.branch and {
        "ref": plan.branch.ref,
        "old": plan.branch.old,
        "new": plan.branch.new,
        "index": [os.fsdecode(line) for line in plan.branch.index],
        "former_index": [os.fsdecode(line) for line in plan.branch.former_index],
    }
    moves = [[move.path, _build_seen(move.seen), move.folder, _build_seen(move.staged)] for move in plan.moves]
    return {"moves": moves, "made": plan.made, "emptied": plan.emptied, "branch": branch}


def _build_seen(seen: Seen | None) -> list[int] | None:
    # Without the device: all are on that of the staging folder, and its number may be another after a restart.
    return None if seen is None else [seen.mode, seen.size, seen.mtime_ns, seen.inode]


def _parse(value: Any, device: int) -> tuple[State, int, Plan]:  # noqa: ANN401 - any JSON
    if value["version"] != _VERSION or value["state"] not in {"staging", "committed"}:
        msg = "of another version or state"
        raise ValueError(msg)
    moves = tuple(
        PathMove(
            path=_parse_path(path),
            seen=_parse_seen(seen, device),
            folder=_expect(folder, bool),
            staged=_parse_seen(staged, device),
        )
        for path, seen, folder, staged in value["moves"]
    )
    plan = Plan(
        moves=moves,
        made=tuple((_parse_path(path), None if bits is None else _expect(bits, int)) for path, bits in value["made"]),
        emptied=tuple(map(_parse_path, value["emptied"])),
        branch=_parse_branch(value["branch"]),
    )
    return value["state"], _expect(value["inode"], int), plan


def _expect(value: object, kind: type[_T]) -> _T:
    if type(value) is not kind:
        msg = f"not {kind.__name__}"
        raise TypeError(msg)
    return value


def _parse_path(value: object) -> str:
    path = _expect(value, str)
    if fault := find_path_fault(path):
        raise ValueError(fault)
    return path


def _parse_seen(value: Any, device: int) -> Seen | None:  # noqa: ANN401 - any JSON
    if value is None:
        return None
    mode, size, mtime_ns, inode = (_expect(number, int) for number in value)
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        msg = "neither a file nor a link"
        raise ValueError(msg)
    return Seen(mode, size, mtime_ns, inode, device)


def _parse_branch(value: Any) -> GitMove | None:  # noqa: ANN401 - any JSON
    if value is None:
        return None
    ref, old, new = (_expect(value[key], str) for key in ("ref", "old", "new"))
    index, former = ([os.fsencode(_expect(line, str)) for line in value[key]] for key in ("index", "former_index"))
    move = GitMove(ref=ref, old=old, new=new, index=index, former_index=former)
    if fault := find_branch_fault(move):
        raise ValueError(fault)
    return move


def _describe_nonsense(tree: Tree, reason: str) -> str:
    return (
        f"{tree.root / STAGING} is not what an interrupted change of ours leaves behind: {reason}. "
        "Nothing was touched. Look whether it holds something that you need, and remove it."
    )
