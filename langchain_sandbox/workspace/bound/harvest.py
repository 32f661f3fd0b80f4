"""What a container has changed in a mounted folder: found without git, and made harmless where it is not.

No git runs over the tree here: a container wrote it. What git ignores is asked of a scratch repository of ours, which
reads the tree's `.gitignore` files and nothing else of it.
"""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, TypeAlias

from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.content import CHUNK, Content, Stored, blob_name
from langchain_sandbox.workspace.git import GitError, scratch_git, scratch_repository
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.outbound.risks import REFUSED, find_risks
from langchain_sandbox.workspace.paths import find_fault, find_git_folders, is_masked, parents, plain_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from langchain_sandbox.workspace.bound.baseline import Baseline
    from langchain_sandbox.workspace.bound.places import Finds

_OBEYED = {"inside a .git", "where changes wait to be applied"}
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_CHANGES = 100_000
_PRIVILEGES = stat.S_ISUID | stat.S_ISGID
_DECISIVE = {"head"}
_MAX_WARNINGS = 100
_MAX_NAMES = 100
_SHOWN = 10

Identity: TypeAlias = "tuple[int, int]"
"""What a file or folder is whatever it is called: its device, and its number there."""


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

    def warn(self, message: str) -> None:
        """Take a warning; a container may have caused any number of them."""
        if len(self.warnings) < _MAX_WARNINGS:
            self.warnings.append(message)
        elif len(self.warnings) == _MAX_WARNINGS:
            self.warnings.append("There is more of this kind, which is not told.")


def identify(root: Path, paths: Iterable[str]) -> dict[str, Identity]:
    """What lies at some paths, to be known again.

    Raises:
        OSError: If one of them cannot be looked at.
    """
    statuses = ((path, os.lstat(f"{os.fspath(root)}/{path}")) for path in paths)
    return {path: (status.st_dev, status.st_ino) for path, status in statuses}


def harvest(
    baseline: Baseline, finds: Finds, *, rules: str, known: Mapping[str, Identity], run_id: str, limit: int
) -> Harvest:
    """Find what is not as it was, and take the teeth out of what the user's own tools would run.

    Args:
        baseline: How the folder was.
        finds: What was there before. What git ignored or the baseline lacks for another reason is no change.
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
        walker = _Walker(baseline.root, scratch, found, finds=finds, known=known, run_id=run_id)
        here = walker.walk(baseline)
    selected = baseline.selection.files if baseline.selection else {}
    before = {path: status for path, status in selected.items() if known.keys().isdisjoint(parents(path))}
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
    try:
        descriptor = _open(full, status)
    except OSError as error:
        found.warn(f"{clean_name(path)} is changed, and cannot be read: {error.strerror}.")
        return 0
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        if status.st_mode & _PRIVILEGES:
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~_PRIVILEGES)
            found.warn(f"{clean_name(path)} would run with its owner's rights; it does not any more.")
        if status.st_size > limit or len(found.changes) >= _MAX_CHANGES:
            found.warn(f"{clean_name(path)} is changed, and too big to be told (Limits.changes).")
            return 0
        offset = found.spool.seek(0, os.SEEK_END)
        while chunk := file.read(CHUNK):
            found.spool.write(chunk)
        found.spool.flush()
    size = found.spool.tell() - offset
    mode = EXECUTABLE if status.st_mode & stat.S_IXUSR else FILE
    found.changes.append(Change(path, mode, Stored(found.spool, offset, size)))
    return size


def _open(full: str, status: os.stat_result) -> int:
    """Open a file to read it, also where the container took its owner's right to do so."""
    try:
        return os.open(full, _READ)
    except PermissionError:
        os.chmod(full, stat.S_IMODE(status.st_mode) | stat.S_IRUSR)  # noqa: PTH101 - names of any bytes
        return os.open(full, _READ)


class _Walker:
    """Goes through the folder level by level, asking once for each level what git ignores.

    It goes through what is ignored as well: git and OpenCode obey there what they obey elsewhere.
    """

    def __init__(
        self,
        root: Path,
        scratch: Path,
        found: Harvest,
        *,
        finds: Finds,
        known: Mapping[str, Identity],
        run_id: str,
    ) -> None:
        self._root = os.fspath(root)
        self._scratch = scratch
        self._found = found
        self._finds = finds
        self._known = known
        self._identities = set(known.values())
        self._run_id = run_id
        self._obeyed: list[str] = []

    def walk(self, baseline: Baseline) -> dict[str, os.stat_result]:
        """Files and links that are there, apart from what git ignores or what was there and is not in the baseline."""
        folders = {parent for path in baseline.entries for parent in parents(path)}
        here: dict[str, os.stat_result] = {}
        level, ignored_level = [""], list[str]()
        while level or ignored_level:
            files, inner = self._look(level)
            files = {path: s for path, s in files.items() if path in baseline.entries or path not in self._finds.files}
            fresh = [path for path in files if path not in baseline.entries]
            new = [path for path in inner if path not in folders]
            ignored = self._find_ignored([*fresh, *(f"{path}/" for path in new)])
            here |= {path: status for path, status in files.items() if path not in ignored}
            self._disarm({path: files[path] for path in fresh if path in ignored})
            level = [path for path in inner if f"{path}/" not in ignored]
            hidden, below = self._look(ignored_level)
            self._disarm(hidden)
            ignored_level = [*below, *(path for path in inner if f"{path}/" in ignored)]
        self._tell_obeyed()
        return here

    def _tell_obeyed(self) -> None:
        """Whoever writes a file can have git ignore it, so that it is not told."""
        found = sorted(self._obeyed, key=lambda path: (path.count("/"), path))
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            self._found.warn(
                f"{', '.join(map(clean_name, found[:_SHOWN]))}{more}: came about in the run where git ignores it, and "
                "tools of yours obey what has such a name. Look at it."
            )

    @staticmethod
    def _is_obeyed(path: str) -> bool:
        risks = find_risks(path, mode=FILE, old_mode=None, content=b"", old_content=b"", size=0)
        return not REFUSED.isdisjoint(risks)

    def _disarm(self, files: dict[str, os.stat_result]) -> None:
        """Take set-user-id bits off files that are not told, and note those that the user's tools would obey."""
        for path, status in files.items():
            if path not in self._finds.files and self._is_obeyed(path):
                self._obeyed.append(path)
            if stat.S_ISREG(status.st_mode) and status.st_mode & _PRIVILEGES and path not in self._finds.files:
                os.chmod(f"{self._root}/{path}", stat.S_IMODE(status.st_mode) & ~_PRIVILEGES)  # noqa: PTH101 - any bytes
                self._found.warn(f"{clean_name(path)} would run with its owner's rights; it does not any more.")

    def _look(self, level: list[str]) -> tuple[dict[str, os.stat_result], list[str]]:
        files: dict[str, os.stat_result] = {}
        inner: list[str] = []
        for folder in level:
            try:
                self._open_up(folder)
                self._look_into(folder, files, inner)
            except OSError as error:
                if not folder:
                    raise
                self._found.warn(f"{clean_name(folder)[:_MAX_NAMES]} cannot be looked through: {error.strerror}.")
        return files, inner

    def _open_up(self, folder: str) -> None:
        """Take back what the container took of its owner's rights to a folder."""
        full = f"{self._root}/{folder}"
        mode = stat.S_IMODE(os.lstat(full).st_mode)
        if mode & stat.S_IRWXU != stat.S_IRWXU and not os.access(full, os.R_OK | os.W_OK | os.X_OK):
            os.chmod(full, mode | stat.S_IRWXU)  # noqa: PTH101 - names of any bytes

    def _look_into(self, folder: str, files: dict[str, os.stat_result], inner: list[str]) -> None:
        base = f"{folder}/" if folder else ""
        self._defuse(base)
        with os.scandir(f"{self._root}/{folder}") as entries:
            for entry in entries:
                path = base + entry.name
                if path in self._known or self._has_moved(path):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    inner.append(path)
                elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                    files[path] = entry.stat(follow_symlinks=False)
                elif path not in self._finds.files:
                    self._found.warn(f"{clean_name(path)} is neither a file nor a link.")

    def _defuse(self, base: str) -> None:
        """Rename what git or OpenCode would obey when the user next works here."""
        names = os.listdir(f"{self._root}/{base}")  # noqa: PTH208 - names of any bytes
        dangerous = [name for name in names if self._is_dangerous(base + name)]
        if base not in self._finds.bare and find_git_folders(names):
            dangerous += [name for name in names if plain_name(name).casefold() in _DECISIVE]
        for name in dict.fromkeys(dangerous):
            self._rename(base, name)

    def _rename(self, base: str, name: str) -> None:
        plain = f"{self._root}/{base}"
        # The first may be too long, or there already: whoever made this may have made that.
        # A colon or a backslash would still end the name somewhere, and leave the rest as it was.
        tame = name.replace(":", "_").replace("\\", "_")
        others = [f"{tame}.sandbox-{self._run_id}", *(f"sandbox-{self._run_id}-{n}" for n in range(_MAX_NAMES))]
        for other in others:
            try:
                if not os.path.lexists(plain + other):
                    os.rename(plain + name, plain + other)  # noqa: PTH104 - names of any bytes
                    break
            except OSError:
                continue
        else:
            self._found.warn(
                f"{clean_name(base + name)} came about in the run, and git or OpenCode obeys it. REMOVE IT."
            )
            return
        self._found.warn(
            f"{clean_name(base + name)} came about in the run, and git or OpenCode would obey it: it is called "
            f"{clean_name(other)} now. Look at it, and remove it."
        )

    def _is_dangerous(self, path: str) -> bool:
        # By its name alone: a `.git` as any file system reads it, and the folder of our own whose journal we obey.
        name = path.rpartition("/")[2]
        if name == ".gitignore" and stat.S_ISFIFO(os.lstat(f"{self._root}/{path}").st_mode):
            return True  # git, ours and the user's, would wait for it for ever
        if find_fault(name) not in _OBEYED and not is_masked(path):
            return False
        if path in self._known:
            # The container may have moved the folder that it lies in, and made another in its place.
            return self._identity(path) != self._known[path]
        return path not in self._finds.files and self._identity(path) not in self._identities

    def _has_moved(self, path: str) -> bool:
        """Whether it was covered under another path: what is in it is as it was."""
        suspect = is_masked(path) or path.rpartition("/")[2] == ".git"
        if not suspect or path in self._known or self._identity(path) not in self._identities:
            return False
        self._found.warn(f"{clean_name(path)} was elsewhere before the run, which moved the folder around it.")
        return True

    def _identity(self, path: str) -> Identity:
        status = os.lstat(f"{self._root}/{path}")
        return status.st_dev, status.st_ino

    def _find_ignored(self, paths: list[str]) -> set[str]:
        if not paths:
            return set()
        feed = b"".join(b"./" + os.fsencode(path) + b"\0" for path in paths)  # a name may begin with a colon
        command = [f"--git-dir={self._scratch}", f"--work-tree={self._root}", "-c", "core.bare=false"]
        # It ends with 1 where nothing is ignored. Where it fails, too much is told rather than too little.
        asking = ("check-ignore", "--no-index", "-z", "--stdin")
        try:
            told = scratch_git(self._scratch, "-C", self._root, *command, *asking, stdin=feed, check=False)
        except GitError as error:
            self._found.warn(f"Nobody can say what git ignores, so too much may be told: {error}")
            return set()
        return {os.fsdecode(name.removeprefix(b"./")) for name in told.split(b"\0") if name}
