"""A mounted folder through one run: checked, covered, and compared afterwards with what it was."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_sandbox.engine.base import Mount
from langchain_sandbox.engine.scratch import make_scratch
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.bound.baseline import Baseline, take_baseline
from langchain_sandbox.workspace.bound.harvest import Harvest, Identity, harvest, identify
from langchain_sandbox.workspace.bound.places import Finds, check_place
from langchain_sandbox.workspace.git import git
from langchain_sandbox.workspace.inbound.settings import read_rules

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from langchain_sandbox.config import Limits
    from langchain_sandbox.workspace_config import Workspace

_GIT = ".git"
_EMPTY = "empty"
_CONFIG = "config"
# Of the repository's configuration nothing goes in but what says how its files are to be read, and the identity.
_CORE = "repositoryformatversion|filemode|bare|ignorecase|symlinks|autocrlf|eol|sparsecheckout|sparsecheckoutcone"
_SETTINGS = rf"^(core\.({_CORE})|extensions\.objectformat|user\.(name|email))$"


@dataclass(slots=True)
class BoundFolder:
    """What `prepare` found; `close` lets go of it.

    Args:
        real: The folder, with all links resolved.
        baseline: How it was.
        user: Whom it belongs to, as `uid:gid`.
        mounts: The folder, and what covers parts of it.
        finds: What was there, relative to the folder.
        known: What is covered, and what it is.
        rules: What git ignores besides the `.gitignore` files.
        scratch: Holds what covers files.
    """

    real: Path
    baseline: Baseline
    user: str
    mounts: tuple[Mount, ...]
    finds: Finds
    known: dict[str, Identity]
    rules: str
    scratch: Path
    warnings: list[str] = field(default_factory=list)

    def collect(self, *, run_id: str, limits: Limits) -> Harvest:
        """Find what the run has changed; call it when the container is gone.

        Raises:
            OSError: If the folder cannot be read.
            GitError: If git does not have a former content.
        """
        limit = limits.size("changes")
        found = harvest(self.baseline, self.finds, rules=self.rules, known=self.known, run_id=run_id, limit=limit)
        self.baseline.fetch(change.path for change in found.changes)
        return found

    def close(self) -> None:
        """Let go of everything."""
        self.baseline.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


def prepare(workspace: Workspace, limits: Limits, *, target: str, private: Iterable[Path]) -> BoundFolder:
    """Check a folder, note how it is, and plan its mounts.

    Args:
        workspace: The folder.
        limits: Bounds what has to be kept of it.
        target: Where it lies in the container.
        private: Files and folders that no container may see.

    Raises:
        SandboxConfigError: If it must not be mounted, or cannot be read.
    """
    if workspace.exclude:
        msg = 'Workspace(exclude=...) keeps nothing from a container that has the folder itself; use mode="copy".'
        raise SandboxConfigError(msg)
    finds = check_place(workspace.path, private=private)
    real = workspace.path.resolve()
    if (real / _GIT).is_symlink():
        msg = f"The workspace {real} is not mounted: its .git is a link, which nothing can cover."
        raise SandboxConfigError(msg)
    scratch = make_scratch()
    baseline: Baseline | None = None
    try:
        baseline = take_baseline(workspace, limits)
        status = real.stat()
        folder = BoundFolder(
            real=real,
            baseline=baseline,
            user=f"{status.st_uid}:{status.st_gid}",
            mounts=_plan_mounts(real, finds, scratch, target),
            finds=finds,
            known=identify(real, [*finds.repositories, *finds.settings]),
            rules=_read_rules(real, baseline),
            scratch=scratch,
        )
    except BaseException:
        if baseline is not None:
            baseline.close()
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    if (real / _GIT).is_file():
        folder.warnings.append("The workspace's repository is elsewhere, so there is no git in the container.")
    return folder


def _read_rules(real: Path, baseline: Baseline) -> str:
    selection = baseline.selection
    return read_rules(real) if selection is not None and selection.repository is not None else ""


def _plan_mounts(real: Path, finds: Finds, scratch: Path, target: str) -> tuple[Mount, ...]:
    (scratch / _EMPTY).touch(mode=0o644)
    scratch.chmod(0o755)  # the engine mounts files of it, and the container's user reads them
    mounts = [Mount(source=str(real), target=target, access="read-write")]
    for path in [*finds.repositories, *finds.settings]:
        full = real / path
        if not _can_be_told(path):
            msg = f"The workspace {real} is not mounted: {clean_name(path)} is no UTF-8, so nothing can cover it."
            raise SandboxConfigError(msg)
        if path == _GIT and full.is_dir():
            (scratch / _CONFIG).write_text(_build_config(real), encoding="utf-8")
            mounts.append(Mount(source=str(full), target=f"{target}/{_GIT}", access="read-only"))
            mounts.append(Mount(source=str(scratch / _CONFIG), target=f"{target}/{_GIT}/config", access="read-only"))
            mounts += _cover_other_settings(full, scratch, f"{target}/{_GIT}")
        elif full.is_symlink():
            msg = f"The workspace {real} is not mounted: its {path} is a link, which nothing can cover."
            raise SandboxConfigError(msg)
        elif full.is_dir():
            mounts.append(Mount(source=None, target=f"{target}/{path}", access="read-only"))
        else:
            mounts.append(Mount(source=str(scratch / _EMPTY), target=f"{target}/{path}", access="read-only"))
    return tuple(mounts)


def _cover_other_settings(folder: Path, scratch: Path, target: str) -> list[Mount]:
    """Cover what else in a `.git` is, or holds, a configuration: of submodules and of worktrees."""
    covers = [
        Mount(source=None, target=f"{target}/{name}", access="read-only")
        for name in ("modules", "worktrees")
        if (folder / name).is_dir() and not (folder / name).is_symlink()
    ]
    if (folder / "config.worktree").is_file():
        covers.append(Mount(source=str(scratch / _EMPTY), target=f"{target}/config.worktree", access="read-only"))
    return covers


def _can_be_told(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _build_config(real: Path) -> str:
    """The repository's configuration, without remotes, credentials, and everything that names a program."""
    told = os.fsdecode(git(real, "config", "--local", "-z", "--get-regexp", _SETTINGS, check=False))
    lines = []
    for record in told.split("\0"):
        key, _, value = record.partition("\n")
        section, _, name = key.rpartition(".")
        if section and value.isprintable():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'[{section}]\n\t{name} = "{escaped}"\n')
    return "".join(lines)
