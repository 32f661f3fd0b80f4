"""How a mounted folder is before the run, without reading what git has already: what its changes are told against."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.workspace.content import CHUNK, Content, Stored
from langchain_sandbox.workspace.git import GitError, find_git_path, git, quote_path, scratch_repository
from langchain_sandbox.workspace.inbound.listing import list_index
from langchain_sandbox.workspace.inbound.selection import Selection, select_files
from langchain_sandbox.workspace.inbound.snapshot import Entry, Snapshot, add_path
from langchain_sandbox.workspace.outbound.objects import read_blobs
from langchain_sandbox.workspace.paths import parents

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from langchain_sandbox.config import Limits
    from langchain_sandbox.workspace_config import Workspace

_IN_GIT = -1
_SHA256 = 64
_SHA256_CONFIG = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"


@dataclass(slots=True)
class Baseline(Snapshot):
    """A snapshot whose contents are partly git's: those of files that are as git has them.

    Args:
        objects: Where git keeps contents.
        folders: Permissions of the folders that files lie in.
        fetched: Contents that were read from git, by git's names for them.
    """

    objects: Path | None = None
    folders: dict[str, int] = field(default_factory=dict)
    fetched: dict[str, Stored] = field(default_factory=dict)

    def read(self, entry: Entry) -> Content:
        """The content of an entry, as it was; `fetch` it first."""
        if entry.offset != _IN_GIT:
            return Snapshot.read(self, entry)
        return self.fetched[entry.blob]

    def fetch(self, paths: Iterable[str]) -> None:
        """Read the former contents of some paths from git.

        Raises:
            GitError: If git does not have one.
        """
        entries = (self.entries[path] for path in paths if path in self.entries)
        names = {entry.blob for entry in entries if entry.offset == _IN_GIT} - self.fetched.keys()
        if not names or self.objects is None:
            return
        # Not in the user's folder: a container has written there by now, a `.gitconfig` maybe.
        with scratch_repository() as scratch:
            (scratch / "objects" / "info").mkdir()
            (scratch / "objects" / "info" / "alternates").write_bytes(os.fsencode(f"{quote_path(self.objects)}\n"))
            if any(len(name) == _SHA256 for name in names):
                (scratch / "config").write_text(_SHA256_CONFIG, encoding="ascii")
            self.fetched |= read_blobs(scratch, names, self.archive)
        self.archive.flush()


def take_baseline(workspace: Workspace, limits: Limits) -> Baseline:
    """Note how each file looks, and keep the contents that git does not have.

    Args:
        workspace: The folder.
        limits: `workspace` bounds what has to be kept.

    Raises:
        SandboxConfigError: If it is no folder, cannot be read, or too much would have to be kept.
    """
    selection = select_files(workspace, None)
    archive = tempfile.TemporaryFile(prefix="langchain-sandbox-", buffering=CHUNK)  # noqa: SIM115 - the baseline's
    baseline = Baseline(selection.root, {}, archive, selection)
    baseline.skipped += selection.skipped
    try:
        if selection.repository is not None:
            baseline.objects = find_git_path(selection.root, "objects")
        in_git = _find_in_git(selection)
        rest = {path: status for path, status in selection.files.items() if path not in in_git}
        _check_size(selection.root, rest, limits)
        for path in selection.files:
            if path in in_git:
                mode, blob = selection.index[path]
                baseline.entries[path] = Entry(mode, blob, selection.files[path].st_size, _IN_GIT)
            else:
                add_path(baseline, path, selection.files[path])
        archive.flush()
        above = {folder for path in baseline.entries for folder in parents(path)}
        baseline.folders = {folder: stat.S_IMODE((selection.root / folder).stat().st_mode) for folder in above}
    except GitError as error:
        archive.close()
        msg = f"The workspace {selection.root} is a repository that git cannot read: {error}."
        raise SandboxConfigError(msg) from error
    except BaseException:
        archive.close()
        raise
    return baseline


def _check_size(root: Path, rest: dict[str, os.stat_result], limits: Limits) -> None:
    size = sum(status.st_size for status in rest.values())
    if size > limits.size("workspace"):
        msg = (
            f"{len(rest)} files of {root} are not as git has them, {size} bytes in all, more than "
            f"{limits.size('workspace')} (Limits.workspace): they have to be kept, to tell later what was changed. "
            "Commit them, have git ignore them, or raise the limit."
        )
        raise SandboxConfigError(msg)


def _find_in_git(selection: Selection) -> set[str]:
    """Paths whose content is, byte by byte, what git has under the name in its index."""
    if selection.repository is None or not selection.index:
        return set()
    root = selection.root
    written = find_git_path(root, "index").stat().st_mtime_ns
    listed = dict(list_index(root))
    # What is as young as the index may have changed since, unseen.
    found = [
        path
        for path in selection.index
        if (status := selection.files.get(path))
        and path in listed
        and listed[path].is_like(status)
        and status.st_mtime_ns < written
    ]
    feed = "".join(f"{selection.index[path][1]}\n" for path in found).encode("ascii")
    sizes = git(root, "cat-file", "--batch-check=%(objectsize)", "--buffer", stdin=feed).split(b"\n")
    # Another size is another content: a filter's or a line end's doing.
    return {
        path
        for path, size in zip(found, sizes, strict=False)
        if size == str(selection.files[path].st_size).encode("ascii")
    }
