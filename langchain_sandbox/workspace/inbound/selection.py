"""Which files belong to a workspace: by git's rules where there is a repository, else all. Reads no content."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.git import GitError, git
from langchain_sandbox.workspace.inbound.repository import Repository, describe_broken, find_repository
from langchain_sandbox.workspace.paths import STAGING, compile_patterns, is_masked

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from langchain_sandbox.config import Limits
    from langchain_sandbox.workspace_config import Workspace

GITLINK = 0o160000

_OFFENDERS = 5
_PAGE = 4096
_SKIP_WORKTREE = "S"
_DEPTH = 8  # of repositories inside repositories


@dataclass(slots=True)
class Selection:
    """What goes in.

    Args:
        root: The workspace's folder.
        files: Files and links by path, relative to the root, and how each looked.
        repository: The git repository, if the folder belongs to one.
        index: Git's mode and name of the content for each tracked path that is no conflict.
        deleted: Tracked paths that the user has deleted and not told git; an ordered set.
        nested: Folders that are repositories of their own; their files go in, their history does not.
        skipped: What was left out, as `path: reason`.
    """

    root: Path
    files: dict[str, os.stat_result] = field(default_factory=dict)
    repository: Repository | None = None
    index: dict[str, tuple[int, str]] = field(default_factory=dict)
    deleted: dict[str, None] = field(default_factory=dict)
    nested: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """Where the files belong in the repository: empty for its root, else such as `packages/a/`."""
        return self.repository.prefix if self.repository is not None else ""

    @property
    def size(self) -> int:
        """Bytes that the copy takes: it lies in memory, and memory comes in pages."""
        return sum(-(-status.st_size // _PAGE) * _PAGE for status in self.files.values())


def select_files(workspace: Workspace, limits: Limits | None) -> Selection:
    """Find out what goes in.

    Args:
        workspace: The folder, and what of it.
        limits: `workspace`, `workspace_files` and `workspace_file` bound it; `None` for what is not to be copied.

    Raises:
        SandboxConfigError: If it is no folder, cannot be read, or is too big; the message names the biggest files.
    """
    selection = begin_selection(workspace)
    fill_selection(selection, workspace, limits)
    return selection


def begin_selection(workspace: Workspace) -> Selection:
    """The first half of `select_files`: find the repository, and look at no file yet.

    Raises:
        SandboxConfigError: If it is no folder, or in a repository that cannot be read.
    """
    root = workspace.path
    return Selection(root, repository=_find_own(root))


def list_files(root: Path) -> bytes:
    """What git lists in a folder: tracked files as its index has them, and those that it does not ignore.

    Raises:
        GitError: If it is in no repository, or in one that git cannot read.
    """
    return git(root, "ls-files", "-z", "-t", "--stage", "--cached", "--others", "--exclude-standard")


def fill_selection(
    selection: Selection, workspace: Workspace, limits: Limits | None, *, listed: Future[bytes] | None = None
) -> None:
    """The second half.

    Args:
        selection: From the first half.
        workspace: As there.
        limits: As for `select_files`.
        listed: What `list_files` says of the folder, where it was begun ahead; nobody asks for it if that is in no
            repository.

    Raises:
        SandboxConfigError: If it cannot be read, or is too big.
    """
    try:
        _fill(selection, workspace, listed)
    except GitError as error:
        raise SandboxConfigError(describe_broken(selection.root, error)) from error
    if limits is not None:
        _check_limits(selection, limits)


def _fill(selection: Selection, workspace: Workspace, listed: Future[bytes] | None) -> None:
    picker = _Picker(selection, excluded=compile_patterns(workspace.exclude))
    if selection.repository is None:
        picker.take_folder("", depth=0)
        return
    picker.take_repository("", listed.result() if listed is not None else list_files(selection.root), depth=0)
    for pattern in workspace.include:
        if not picker.take_ignored(pattern):
            selection.skipped.append(f"{clean_name(pattern)}: Workspace.include has it, and nothing is like it")


def find_folder(root: Path) -> str:
    """Where a workspace's files belong in their repository: empty for its root, else such as `packages/a/`.

    Raises:
        SandboxConfigError: As by `find_repository`, and if it is no folder.
    """
    repository = _find_own(root)
    return repository.prefix if repository is not None else ""


def _find_own(root: Path) -> Repository | None:
    """The repository that a folder belongs to: one that it ignores and has nothing in is one like any other."""
    if not root.is_dir():
        msg = f"The workspace {root} is not a folder."
        raise SandboxConfigError(msg)
    repository = find_repository(root)
    try:
        if repository is None or not repository.prefix or git(root, "ls-files", "-z"):
            return repository
        return None if git(root, "check-ignore", "--", ".", check=False) else repository
    except GitError as error:
        raise SandboxConfigError(describe_broken(root, error)) from error


class _Picker:
    """Fills a selection; paths are relative to its root, folders end in a slash."""

    def __init__(self, selection: Selection, *, excluded: Callable[[str], bool]) -> None:
        self._selection = selection
        self._base = os.fspath(selection.root)
        self._excluded = excluded
        self._leads_away = cache(self._find_link)

    def take_repository(self, below: str, listed: bytes, *, depth: int) -> None:
        """Take what git lists."""
        for record in listed.split(b"\0"):
            if not record:
                continue
            line = os.fsdecode(record)
            if line.startswith("? "):
                self._take_untracked(below + line[2:], depth=depth)
                continue
            described, name = line.split("\t", 1)
            tag, mode, blob, stage = described.split(" ")
            self._take_tracked(below + name, tag, int(mode, 8), depth=depth)
            if not below and stage == "0":
                self._selection.index[name] = (int(mode, 8), blob)

    def take_ignored(self, pattern: str) -> bool:
        """Take what fits a pattern whether git ignores it or not, and say whether anything did."""
        before = len(self._selection.files)
        glob = pattern if "/" in pattern else f"**/{pattern}"
        specs = [f":(glob){glob}", f":(glob){glob}/**"]
        fits = compile_patterns([pattern])
        for record in git(self._selection.root, "ls-files", "-z", "--others", "--", *specs).split(b"\0"):
            if record:
                self._take_untracked(os.fsdecode(record), depth=0)
        return len(self._selection.files) > before or any(fits(path) for path in self._selection.files)

    def take_folder(self, below: str, *, depth: int) -> None:
        """Take everything in a folder that is no repository."""
        for folder, folders, names in os.walk(f"{self._base}/{below}", onerror=self._miss_folder):
            inside = os.path.relpath(folder, self._base)
            base = "" if inside == "." else f"{inside}/"
            links = [name for name in folders if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114 - as above
            plain = []
            for name in sorted(set(folders) - set(links) - {".git"}):
                if os.path.lexists(f"{folder}/{name}/.git"):
                    self._take_nested(f"{base}{name}", depth=depth)
                elif not self._excluded(base + name) and base + name != STAGING:
                    plain.append(name)
            folders[:] = plain
            for name in sorted({*names, *links} - {".git"}):
                self._take(base + name)

    def _miss_folder(self, error: OSError) -> None:
        path = os.path.relpath(os.fsdecode(error.filename), self._base)
        self._selection.skipped.append(f"{clean_name(path)}: the folder cannot be read: {error.strerror}")

    def _take_tracked(self, path: str, tag: str, mode: int, *, depth: int) -> None:
        if self._take(path):
            return
        if mode != GITLINK or self._look(path) is None:
            if tag != _SKIP_WORKTREE:
                self._selection.deleted[path] = None
        elif os.path.lexists(f"{self._base}/{path}/.git"):
            self._take_nested(path, depth=depth)

    def _take_untracked(self, path: str, *, depth: int) -> None:
        if path.endswith("/"):
            self._take_nested(path[:-1], depth=depth)
        elif not path.startswith(f"{STAGING}/"):
            self._take(path)

    def _take_nested(self, path: str, *, depth: int) -> None:
        """Take a repository inside: its files without its history."""
        if self._excluded(path):
            return
        name = clean_name(path)
        try:
            found = find_repository(self._selection.root / path) if depth < _DEPTH else None
            if found is None or found.prefix:
                self._selection.skipped.append(f"{name}: looks like a repository and is none")
                return
            self.take_repository(f"{path}/", list_files(self._selection.root / path), depth=depth + 1)
        except (GitError, SandboxConfigError) as error:
            self._selection.skipped.append(f"{name}: a repository that git cannot read: {error}")
            return
        self._selection.nested.append(path)

    def _take(self, path: str) -> bool:
        """Take one path, and say whether something is there, taken or left out for a reason."""
        if path in self._selection.files or self._excluded(path):
            return True
        if is_masked(path):
            self._selection.skipped.append(f"{clean_name(path)}: would configure OpenCode itself")
            return True
        status = self._look(path)
        if status is None or stat.S_ISDIR(status.st_mode):
            return False  # a folder in a file's place; what is in it is listed for itself
        if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            self._selection.files[path] = status
        else:
            self._selection.skipped.append(f"{clean_name(path)}: neither a file nor a link")
        return True

    def _find_link(self, folder: str) -> bool:
        """Whether a folder is a link, or below one."""
        if not folder:
            return False
        above = folder.rpartition("/")[0]
        return self._leads_away(above) or os.path.islink(f"{self._base}/{folder}")  # noqa: PTH114 - a name of any bytes

    def _look(self, path: str) -> os.stat_result | None:
        if self._leads_away(path.rpartition("/")[0]):
            return None  # the tracked file is gone, and another is there
        try:
            return os.lstat(f"{self._base}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            msg = f"The workspace's file {path} cannot be looked at: {error.strerror}."
            raise SandboxConfigError(msg) from error


def _check_limits(selection: Selection, limits: Limits) -> None:
    sizes = {path: status.st_size for path, status in selection.files.items()}
    too_big = {path: size for path, size in sizes.items() if size > limits.size("workspace_file")}
    if too_big:
        msg = (
            f"Files of the workspace {selection.root} have more than {limits.size('workspace_file')} bytes "
            f"(Limits.workspace_file): {_name_biggest(too_big)}. {_ADVICE}"
        )
        raise SandboxConfigError(msg)
    total = selection.size
    if total > limits.size("workspace"):
        msg = (
            f"The workspace {selection.root} takes {total} bytes, more than {limits.size('workspace')} "
            f"(Limits.workspace). The biggest: {_name_biggest(sizes)}. {_ADVICE}"
        )
        raise SandboxConfigError(msg)
    if len(sizes) > limits.workspace_files:
        counts: dict[str, int] = {}
        for path in sizes:
            folder = path.partition("/")[0] if "/" in path else "."
            counts[folder] = counts.get(folder, 0) + 1
        msg = (
            f"The workspace {selection.root} has {len(sizes)} files, more than {limits.workspace_files} "
            f"(Limits.workspace_files). The biggest folders: {_name_biggest(counts, unit='files')}. {_ADVICE}"
        )
        raise SandboxConfigError(msg)


_ADVICE = "Have git ignore what a task does not need, name it in Workspace(exclude=...), or raise the limit."


def _name_biggest(sizes: dict[str, int], *, unit: str = "bytes") -> str:
    biggest = sorted(sizes.items(), key=lambda item: -item[1])[:_OFFENDERS]
    return ", ".join(f"{clean_name(path)} ({size} {unit})" for path, size in biggest)
