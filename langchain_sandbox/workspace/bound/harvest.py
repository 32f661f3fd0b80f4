"""What a container has changed in a mounted folder: found without git, and made harmless where it is not.

No git runs over the tree here: a container wrote it. What git ignores is asked of a scratch repository of ours, which
reads the tree's `.gitignore` files and nothing else of it.
"""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.content import CHUNK, Content, Stored, blob_name
from langchain_sandbox.workspace.git import scratch_git, scratch_repository
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.paths import STAGING, find_fault, find_git_folders, is_masked, parents

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.workspace.bound.baseline import Baseline

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_CHANGES = 100_000
_PRIVILEGES = stat.S_ISUID | stat.S_ISGID


@dataclass(slots=True)
class Harvest:
    """What was found.

    Args:
        spool: An anonymous temporary file.
        changes: The changes, their contents in it.
        warnings: What was made harmless, or left out.
    """

    spool: IO[bytes]
    changes: list[Change] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def harvest(baseline: Baseline, *, rules: str, known: set[str], run_id: str, limit: int) -> Harvest:
    """Find what is not as it was, and take the teeth out of what the user's own tools would run.

    Args:
        baseline: How the folder was.
        rules: What git ignores besides the `.gitignore` files.
        known: What was covered: every `.git`, and the settings of OpenCode, that were there before.
        run_id: Part of the name that a thing gets which must not have its own.
        limit: Bytes of changed contents to read at most.

    Raises:
        OSError: If the folder cannot be read.
    """
    assert baseline.root is not None  # noqa: S101 - only a folder can be mounted
    found = Harvest(tempfile.TemporaryFile(prefix="langchain-sandbox-"))  # noqa: SIM115 - the harvest owns it
    with scratch_repository() as scratch:
        (scratch / "info" / "exclude").write_text(rules, encoding="utf-8")
        walker = _Walker(baseline.root, scratch, found, known=known, suffix=f".sandbox-{run_id}")
        here = walker.walk(baseline)
    selected = baseline.selection.files if baseline.selection else {}
    before = {path: status for path, status in selected.items() if known.isdisjoint(parents(path))}
    for path in sorted(here.keys() | before.keys()):
        status = here.get(path)
        was = before.get(path)
        if status is None:
            found.changes.append(Change(path, None))
        elif was is None or _fingerprint(was) != _fingerprint(status):
            limit -= _take(found, baseline.root, path, status, limit)
    found.changes = [change for change in found.changes if not _is_as_it_was(change, baseline)]
    return found


def _is_as_it_was(change: Change, baseline: Baseline) -> bool:
    entry = baseline.entries.get(change.path)
    if entry is None:
        return change.mode is None
    return change.mode == entry.mode and blob_name(change.content) == entry.blob


def _fingerprint(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _take(found: Harvest, root: Path, path: str, status: os.stat_result, limit: int) -> int:
    """Read one changed path, and return the bytes that it took."""
    full = os.path.join(root, path)  # noqa: PTH118 - names of any bytes
    content: Content
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(os.fsencode(full))  # noqa: PTH115 - untidied
        found.changes.append(Change(path, SYMLINK, content))
        return len(content)
    if status.st_size > limit or len(found.changes) >= _MAX_CHANGES:
        found.warnings.append(f"{clean_name(path)} is changed, and too big to be told (Limits.changes).")
        return 0
    descriptor = os.open(full, _READ)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        if status.st_mode & _PRIVILEGES:
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~_PRIVILEGES)
            found.warnings.append(f"{clean_name(path)} would run with its owner's rights; it does not any more.")
        offset = found.spool.seek(0, os.SEEK_END)
        while chunk := file.read(CHUNK):
            found.spool.write(chunk)
        found.spool.flush()
    size = found.spool.tell() - offset
    mode = EXECUTABLE if status.st_mode & stat.S_IXUSR else FILE
    found.changes.append(Change(path, mode, Stored(found.spool, offset, size)))
    return size


class _Walker:
    """Goes through the folder level by level, asking once for each level what git ignores."""

    def __init__(self, root: Path, scratch: Path, found: Harvest, *, known: set[str], suffix: str) -> None:
        self._root = os.fspath(root)
        self._scratch = scratch
        self._found = found
        self._known = known
        self._suffix = suffix

    def walk(self, baseline: Baseline) -> dict[str, os.stat_result]:
        """Files and links that are there, apart from what git ignores and did not know before."""
        folders = {parent for path in baseline.entries for parent in parents(path)}
        here: dict[str, os.stat_result] = {}
        level = [""]
        while level:
            files, inner = self._look(level)
            fresh = [path for path in files if path not in baseline.entries]
            new = [path for path in inner if path not in folders]
            ignored = self._find_ignored([*fresh, *(f"{path}/" for path in new)])
            here |= {path: status for path, status in files.items() if path not in ignored}
            level = [path for path in inner if f"{path}/" not in ignored]
        return here

    def _look(self, level: list[str]) -> tuple[dict[str, os.stat_result], list[str]]:
        files: dict[str, os.stat_result] = {}
        inner: list[str] = []
        for folder in level:
            base = f"{folder}/" if folder else ""
            self._defuse(base)
            with os.scandir(f"{self._root}/{folder}") as entries:
                for entry in entries:
                    path = base + entry.name
                    if path in self._known or path == STAGING:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        inner.append(path)
                    elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                        files[path] = entry.stat(follow_symlinks=False)
                    else:
                        self._found.warnings.append(f"{clean_name(path)} is neither a file nor a link.")
        return files, inner

    def _defuse(self, base: str) -> None:
        """Rename what git or OpenCode would obey when the user next works here."""
        names = os.listdir(f"{self._root}/{base}")  # noqa: PTH208 - names of any bytes
        dangerous = [name for name in names if base + name not in self._known and self._is_dangerous(base + name)]
        if base.rstrip("/") not in self._known and find_git_folders(names):
            dangerous += [name for name in names if name.casefold() == "head"]
        for name in dict.fromkeys(dangerous):
            os.rename(f"{self._root}/{base}{name}", f"{self._root}/{base}{name}{self._suffix}")  # noqa: PTH104 - as above
            self._found.warnings.append(
                f"{clean_name(base + name)} came about in the run, and git or OpenCode would obey it: it is called "
                f"{clean_name(name)}{self._suffix} now. Look at it, and remove it."
            )

    def _is_dangerous(self, path: str) -> bool:
        return find_fault(path.rpartition("/")[2]) == "inside a .git" or is_masked(path)

    def _find_ignored(self, paths: list[str]) -> set[str]:
        if not paths:
            return set()
        feed = b"".join(os.fsencode(path) + b"\0" for path in paths)
        command = [f"--git-dir={self._scratch}", f"--work-tree={self._root}", "-c", "core.bare=false"]
        # It ends with 1 where nothing is ignored. Where it fails, too much is told rather than too little.
        asking = ("check-ignore", "--no-index", "-z", "--stdin")
        told = scratch_git(self._scratch, "-C", self._root, *command, *asking, stdin=feed, check=False)
        return {os.fsdecode(name) for name in told.split(b"\0") if name}
