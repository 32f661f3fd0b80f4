"""Runs git, on the user's repository (reading only) or in a scratch folder of our own."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from langchain_sandbox.engine.scratch import scratch_folder
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_TIMEOUT = 120.0
_LONG_TIMEOUT = 600.0
_NO_GIT = "git is not installed on this machine; install it (Debian: apt-get install git)."
_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=true")


class GitError(Exception):
    """A git command failed; the message holds its last words."""


def git(folder: Path, *arguments: str, stdin: bytes = b"", check: bool = True) -> bytes:
    """Run git in a folder of the user's, with the user's own settings, and return its standard output.

    Nothing that the repository configures to run is run: no monitor, no hook, no pager, no prompt.

    Raises:
        GitError: If it fails and `check` is true.
        SandboxConfigError: If there is no git on this machine.
    """
    return _run(folder, arguments, environment(), stdin=stdin, check=check)


def scratch_git(scratch: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run git in a scratch repository and return its standard output.

    Nobody's settings count: where no host is, the home folder is one that the agent has written to.

    Raises:
        GitError: If it fails.
        SandboxConfigError: If there is no git on this machine.
    """
    return _run(scratch, arguments, _environment_alone(scratch), stdin=stdin)


def scratch_pipe(
    scratch: Path, *arguments: str, feed: Iterable[bytes] = (), into: IO[bytes] | int = subprocess.DEVNULL
) -> None:
    """As `scratch_git`, for what is too long to be held in memory.

    Args:
        scratch: The repository.
        arguments: Git's.
        feed: Its standard input, piece by piece.
        into: An open file that gets its standard output.

    Raises:
        GitError: If it fails.
        SandboxConfigError: If there is no git on this machine.
    """
    command = ["git", *_QUIET, *arguments]
    with tempfile.TemporaryFile(prefix="langchain-sandbox-") as errors:
        try:
            child = subprocess.Popen(  # noqa: S603 - a fixed program with separate arguments
                command,
                cwd=scratch,
                env=_environment_alone(scratch),
                stdin=subprocess.PIPE,
                stdout=into,
                stderr=errors,
            )
        except FileNotFoundError as error:
            raise SandboxConfigError(_NO_GIT) from error
        watchdog = threading.Timer(_LONG_TIMEOUT, child.kill)
        watchdog.start()
        try:
            # Git may end before it has read all; its exit code says why.
            with child, suppress(BrokenPipeError):
                assert child.stdin is not None  # noqa: S101 - for the type checker
                with child.stdin as stdin:
                    for piece in feed:
                        stdin.write(piece)
        except BaseException:
            child.kill()
            raise
        finally:
            watchdog.cancel()
        if child.returncode != 0:
            errors.seek(0)
            words = errors.read()[-500:].decode("utf-8", "replace").strip()
            msg = f"git {_find_command(arguments)} failed: {words}"
            raise GitError(msg)


def _environment_alone(scratch: Path) -> dict[str, str]:
    alone = {
        "HOME": str(scratch),
        "XDG_CONFIG_HOME": str(scratch),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
    }
    return environment() | alone


def _run(
    folder: Path, arguments: Sequence[str], env: Mapping[str, str], *, stdin: bytes = b"", check: bool = True
) -> bytes:
    command = ["git", *_QUIET, *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program with separate arguments
            command,
            cwd=folder,
            env=env,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT,
        )
    except FileNotFoundError as error:
        raise SandboxConfigError(_NO_GIT) from error
    except subprocess.TimeoutExpired as error:
        msg = f"git {_find_command(arguments)} took longer than {_TIMEOUT:.0f} s"
        raise GitError(msg) from error
    if check and done.returncode != 0:
        msg = f"git {_find_command(arguments)} failed: {done.stderr[-500:].decode('utf-8', 'replace').strip()}"
        raise GitError(msg)
    return done.stdout


def _find_command(arguments: Sequence[str]) -> str:
    """The command's name, behind the settings that it gets."""
    at = 0
    while arguments[at] == "-c":
        at += 2
    return arguments[at]


@contextmanager
def scratch_repository() -> Iterator[Path]:
    """A bare repository that knows no configuration but ours, for as long as the block lasts."""
    with scratch_folder() as folder:
        # What `git init --bare` makes, without a process and without anybody's template.
        for part in ("objects", "refs", "info"):
            (folder / part).mkdir()
        (folder / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
        (folder / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n", encoding="ascii")
        yield folder


def environment() -> dict[str, str]:
    """Git's environment: the user's, less everything that steers git, plus what keeps it quiet."""
    values = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    values |= {
        "GIT_OPTIONAL_LOCKS": "0",  # looking must not write an index
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        # A partial clone would fetch what it lacks, by whatever command it configures.
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "file",
        "LC_ALL": "C.UTF-8",
    }
    return values
