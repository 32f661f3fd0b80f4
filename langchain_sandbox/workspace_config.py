"""Plain, typed options for the user's tree: what of it goes in, how changes come back, what is kept of a run."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, get_args

from langchain_sandbox.config import GIB, parse_bytes, read_values
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WorkspaceMode = Literal["copy", "bind"]
"""How a workspace goes into the container: as a copy, or the folder itself."""

DEFAULT_HISTORY = 200
"""Commits of a repository that go in, where nobody says otherwise."""

_DAY = 86_400.0  # seconds


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder that tasks work on, and how it goes into the container.

    What goes in of a git repository are its tracked files and those that git does not ignore, as they are now, with
    the last commits of HEAD; of another folder, everything. Patterns are as in a `.gitignore`: a name without a slash
    is looked for at every depth, one with a slash counts from the folder.

    Args:
        path: The folder; a leading `~` is the home folder.
        include: Patterns of what goes in although git ignores it.
        exclude: Patterns of what stays outside. The container does not see it, and git in there does not miss it.
        history: Commits of HEAD that go in, so that log, blame and diff work inside; 0 for none.
        mode: `"copy"` has the agent work on a copy; `"bind"` mounts the folder itself, with its `.git` read-only, for
            trees that are too big to copy. docs/workspace.md says what that costs in safety.

    Raises:
        SandboxConfigError: If a pattern leads out of the folder, or a value is none of those above.

    Example:
        ```python
        Workspace("path/to/repository", include=[".env.test", "node_modules"], exclude=["*.mp4"])
        ```
    """

    path: Path
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    history: int = DEFAULT_HISTORY
    mode: WorkspaceMode = "copy"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", _parse_folder(self.path))
        for name in ("include", "exclude"):
            object.__setattr__(self, name, _parse_patterns(f"Workspace.{name}", getattr(self, name)))
        if isinstance(self.history, bool) or not isinstance(self.history, int) or self.history < 0:
            msg = f"Workspace.history is a number of commits, 0 for none, not {self.history!r}."
            raise SandboxConfigError(msg)
        if self.mode not in get_args(WorkspaceMode):
            raise SandboxConfigError(_describe_modes("Workspace.mode", self.mode))

    @classmethod
    def of(cls, value: Self | str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> Self:
        """A folder with the options that `SANDBOX_WORKSPACE_INCLUDE`, `_EXCLUDE`, `_HISTORY` and `_MODE` give.

        Args:
            value: The folder; what is a `Workspace` already is given back as it is.
            environ: Where to read; the process environment by default. Patterns are separated by line breaks or commas.

        Raises:
            SandboxConfigError: As for the class; the message names the variable.
        """
        if isinstance(value, cls):
            return value
        environ = os.environ if environ is None else environ
        history = environ.get("SANDBOX_WORKSPACE_HISTORY", "").strip()
        if history and not history.isdecimal():
            msg = f"SANDBOX_WORKSPACE_HISTORY is a number of commits, 0 for none, not {history!r}."
            raise SandboxConfigError(msg)
        mode = environ.get("SANDBOX_WORKSPACE_MODE", "").strip() or "copy"
        if mode not in get_args(WorkspaceMode):
            raise SandboxConfigError(_describe_modes("SANDBOX_WORKSPACE_MODE", mode))
        patterns = {
            name: _parse_patterns(variable, _split_patterns(environ.get(variable, "")))
            for name, variable in (("include", "SANDBOX_WORKSPACE_INCLUDE"), ("exclude", "SANDBOX_WORKSPACE_EXCLUDE"))
        }
        return cls(
            value,  # type: ignore[arg-type]
            **patterns,
            history=int(history) if history else DEFAULT_HISTORY,
            mode=mode,  # type: ignore[arg-type]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyPolicy:
    """How a result's changes get into the user's tree.

    Args:
        moved: What to do where the tree is not as it was when the run began: `"merge"` tries three ways, and changes
            nothing if there is a conflict; `"refuse"` changes nothing.
        commits: What becomes of commits that the agent made: `"auto"` moves the branch forward where that is possible
            and makes a branch `sandbox/<run>` of them where it is not; `"branch"` makes that branch and leaves the
            folder as it is; `"files"` applies the files and no commits.
        risky: What to do with changes that would run or be obeyed on this machine or in CI without anybody starting
            the project: `"refuse"` to apply the result, or `"allow"` them.

    Raises:
        SandboxConfigError: If a value is none of these.
    """

    moved: Literal["merge", "refuse"] = "merge"
    commits: Literal["auto", "branch", "files"] = "auto"
    risky: Literal["refuse", "allow"] = "refuse"

    def __post_init__(self) -> None:
        allowed = {"moved": ("merge", "refuse"), "commits": ("auto", "branch", "files"), "risky": ("refuse", "allow")}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                msg = f"ApplyPolicy.{name} is one of {', '.join(values)}, not {getattr(self, name)!r}."
                raise SandboxConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How much is kept of runs that are over, in the state folder (`SANDBOX_STATE_DIR`).

    What is kept of a run makes its changes mergeable, revertible, and applicable by another process.

    Args:
        runs: How many runs. Where this or one of the others is 0, nothing is kept, and long patches are part of the
            result.
        days: For how long.
        size: For all together, in bytes, or text such as `"2g"`; the run that ended last is kept also where it has
            more.

    Raises:
        SandboxConfigError: If a value is negative or cannot be read.
    """

    runs: int = 100
    days: float = 30.0
    size: int | str = 2 * GIB

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", parse_bytes("Retention.size", self.size))
        for item in fields(self):
            value = getattr(self, item.name)
            kind = int if item.name == "runs" else int | float
            if isinstance(value, bool) or not isinstance(value, kind) or not 0 <= value < math.inf:
                number = "whole number" if item.name == "runs" else "number"
                msg = f"Retention.{item.name} is a {number} that is not negative, not {value!r}."
                raise SandboxConfigError(msg)

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return bool(self.runs and self.days and self.room)

    @property
    def age(self) -> float:
        """The days in seconds."""
        return self.days * _DAY

    @property
    def room(self) -> int:
        """The size in bytes, whichever way it was written."""
        return int(self.size)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read `SANDBOX_KEEP_RUNS`, `SANDBOX_KEEP_DAYS` and `SANDBOX_KEEP_SIZE`.

        Args:
            environ: Where to read; the process environment by default.

        Raises:
            SandboxConfigError: If a value cannot be read; the message names the variable.
        """
        names = [item.name for item in fields(cls)]
        return cls(**read_values("SANDBOX_KEEP", names, os.environ if environ is None else environ, sizes={"size"}))


def _parse_folder(value: str | os.PathLike[str]) -> Path:
    try:
        if not os.fspath(value):
            msg = "workspace is empty; leave it out for a run without files, or use '.' for the current folder."
            raise SandboxConfigError(msg)
        return Path(value).expanduser().absolute()
    except (TypeError, RuntimeError) as error:
        msg = f"workspace is the path of a folder, not {value!r}: {error}."
        raise SandboxConfigError(msg) from error


def _split_patterns(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[\n,]", text) if part.strip()]


def _parse_patterns(name: str, values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str | bytes | os.PathLike) or not isinstance(values, Iterable):
        msg = f"{name} is a list of patterns; write [{str(values)!r}]."
        raise SandboxConfigError(msg)
    patterns = []
    for value in values:
        pattern = os.fspath(value) if isinstance(value, str | os.PathLike) else None
        plain = pattern.removeprefix("./").rstrip("/") if isinstance(pattern, str) else ""
        if not plain or "\0" in plain or plain.startswith("/") or ".." in plain.split("/"):
            msg = f"{name}: {value!r} is not a path or pattern below the workspace's folder."
            raise SandboxConfigError(msg)
        patterns.append(plain)
    return tuple(patterns)


def _describe_modes(name: str, value: object) -> str:
    return f"{name} is one of {', '.join(get_args(WorkspaceMode))}, not {value!r}."
