"""What a transaction needs, made ready before anything is touched: everything is checked, everything new is written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, NoReturn

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.applying.branch import find_commit
from langchain_sandbox.workspace.applying.journal import (
    NEW,
    GitMove,
    PathMove,
    Plan,
    Seen,
    begin,
    clear,
    commit,
    find_branch_fault,
    find_path_fault,
    read_journal,
)
from langchain_sandbox.workspace.applying.moves import show
from langchain_sandbox.workspace.applying.tree import Tree, naming
from langchain_sandbox.workspace.content import Content, pieces
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK
from langchain_sandbox.workspace.paths import STAGING, parents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One path's new state.

    Args:
        path: Relative to the root, with `/`; bytes that are not UTF-8 as `os.fsdecode` gives them.
        seen: What has to be there now. `None`: nothing, or, where a file is to be put, a folder in which this
            transaction deletes all files.
        mode: Git's mode, `FILE`, `EXECUTABLE` or `SYMLINK`; `None` deletes.
        content: The content; a link's target as bytes.
        bits: Exact permission bits, to put something back as it was. `None`: those of the file that is there now,
            or what the umask gives, made executable or not as `mode` says.
    """

    path: str
    seen: Seen | None
    mode: int | None
    content: Content = b""
    bits: int | None = None


def stage(tree: Tree, writes: Sequence[Write], branch: GitMove | None, folder_bits: Mapping[str, int]) -> Plan:
    """Check everything, write everything new into the staging folder, and commit to it.

    Args:
        tree: The tree; it has no staging folder.
        writes: What is to be there.
        branch: What is to move with it.
        folder_bits: Exact permissions of folders, where they have to be made.

    Raises:
        SandboxApplyError: If something is not as it has to be. Then, as after any other error, there is no staging
            folder, and nothing was touched.
        OSError: If something cannot be written.
        ValueError: If a link's target is none.
        GitError: If git does not answer.
    """
    _check_names(writes)
    if branch is not None and (fault := find_branch_fault(branch)):
        msg = f"The branch {show(branch.ref)} is {fault}; nothing was changed."
        raise SandboxApplyError(msg)
    tree.make_folder(STAGING, 0o700)
    try:
        begin(tree)
        read_journal(tree)  # where it does not read as ours now, nobody could go on with it later
        look = cache(tree.look)
        folders = _check_states(tree, writes, look)
        _check_places(tree, writes, look)
        if branch is not None:
            _check_branch(tree, branch)
        plan = replace(_write_all(tree, writes, folders, look, folder_bits), branch=branch)
        commit(tree, plan)
    except BaseException:
        with contextlib.suppress(OSError):
            clear(tree, old="must be empty")
        raise
    return plan


def _refuse(paths: Sequence[str], reason: str) -> NoReturn:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    msg = f"{', '.join(map(show, sorted(paths)[:_SHOWN]))}{more}: {reason}; nothing was changed."
    raise SandboxApplyError(msg)


def _check_names(writes: Sequence[Write]) -> None:
    paths = {write.path for write in writes}
    put = {write.path for write in writes if write.mode is not None}
    for write in writes:
        if fault := find_path_fault(write.path):
            _refuse([write.path], fault)
        if write.path not in paths:
            _refuse([write.path], "to be changed twice")
        paths.discard(write.path)
        if write.mode not in {None, FILE, EXECUTABLE, SYMLINK}:
            _refuse([write.path], f"neither to be a file nor a link, but {write.mode:o}")
        if write.mode is not None and not put.isdisjoint(parents(write.path)):
            _refuse([write.path], "in a folder that is to be a file as well")
        if write.seen is not None and not (stat.S_ISREG(write.seen.mode) or stat.S_ISLNK(write.seen.mode)):
            _refuse([write.path], "in place of what is neither a file nor a link")


def _check_states(tree: Tree, writes: Sequence[Write], look: Callable[[str], os.stat_result | None]) -> set[str]:
    """Check that all paths are as they were seen, and return those where a folder is that goes."""
    deleted = {write.path for write in writes if write.mode is None}
    folders, changed = set(), []
    for write in writes:
        here = look(write.path)
        if write.seen is None and write.mode is not None and _is_folder(here) and _goes(tree, write.path, deleted):
            folders.add(write.path)
        elif write.seen != (here and Seen.of(here)):
            changed.append(write.path)
    if changed:
        _refuse(changed, "not as when it was read")
    return folders


def _goes(tree: Tree, folder: str, deleted: set[str]) -> bool:
    """Whether a folder holds files, and all of them are deleted."""
    files = {path for path, is_folder in tree.walk(folder) if not is_folder}
    return bool(files) and files <= deleted


def _check_places(tree: Tree, writes: Sequence[Write], look: Callable[[str], os.stat_result | None]) -> None:
    """Check that all paths are in folders of the tree's own file system that can be written to."""
    deleted = {write.path for write in writes if write.mode is None}
    device = tree.look(STAGING)
    is_writable = cache(tree.is_writable)
    for write in writes:
        nearest = ""
        for parent in parents(write.path):
            status = look(parent)
            if status is None or (parent in deleted and not _is_folder(status)):
                break
            if not _is_folder(status):
                _refuse([write.path], f"below {show(parent)}, which is no folder")
            if device is None or status.st_dev != device.st_dev:
                _refuse([write.path], f"below {show(parent)}, which is on another file system")
            nearest = parent
        if not is_writable(nearest):
            _refuse([write.path], f"in {show(nearest) or tree.root}, a folder that cannot be written to")


def _check_branch(tree: Tree, branch: GitMove) -> None:
    if find_commit(tree.root, branch.ref) != branch.old:
        msg = f"{show(branch.ref)} is not at {branch.old} any more; nothing was changed."
        raise SandboxApplyError(msg)


def _is_folder(status: os.stat_result | None) -> bool:
    return status is not None and stat.S_ISDIR(status.st_mode)


def _write_all(
    tree: Tree,
    writes: Sequence[Write],
    folders: set[str],
    look: Callable[[str], os.stat_result | None],
    folder_bits: Mapping[str, int],
) -> Plan:
    """Write the new contents, and say what is to be done with them."""
    # What is deleted goes before what may take its place.
    ordered = sorted(writes, key=lambda write: (write.mode is not None, -write.path.count("/"), write.path))
    moves = []
    for number, write in enumerate(ordered):
        with naming(write.path):
            staged = _write(tree, number, write, look(write.path))
        moves.append(PathMove(path=write.path, seen=write.seen, folder=write.path in folders, staged=staged))
    put = {write.path for write in writes if write.mode is not None}
    above_put = {folder for path in put for folder in parents(path)}
    above_deleted = {folder for write in writes if write.mode is None for folder in parents(write.path)}
    emptied = {
        folder
        for folder in above_deleted - above_put - put
        if _is_folder(look(folder)) and put.isdisjoint(parents(folder))
    }
    return Plan(
        moves=tuple(moves),
        made=tuple((folder, folder_bits.get(folder)) for folder in sorted(above_put) if not _is_folder(look(folder))),
        emptied=tuple(sorted(emptied, reverse=True)),
    )


def _write(tree: Tree, number: int, write: Write, here: os.stat_result | None) -> Seen | None:
    """Write one new content, and return what tells it from any other."""
    if write.mode is None:
        return None
    path = f"{NEW}/{number}"
    if write.mode == SYMLINK:
        tree.make_link(path, b"".join(pieces(write.content)))
    else:
        like = here if here is not None and stat.S_ISREG(here.st_mode) else None
        tree.create(path, write.content, mode=write.mode, bits=write.bits, like=like)
    status = tree.look(path)
    if status is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return Seen.of(status)
