"""Runs git, on the user's repository (reading only) or in a scratch folder of our own."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from langchain_sandbox.engine.scratch import scratch_folder
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_SPACE = 0x20
_TIMEOUT = 120.0
_PATIENCE = 4.0
_READ_EVERYWHERE = {".gitignore", ".gitattributes", ".gitmodules"}
_LONG_TIMEOUT = 600.0
_NO_GIT = "git is not installed on this machine; install it (Debian: apt-get install git)."
_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=true")


class GitError(Exception):
    """A git command failed; the message holds its last words."""


class GitStuckError(GitError):
    """A git command waits for what will never come, and would again."""


class Elsewhere(NamedTuple):
    """A place for the objects that git writes, temporary ones too.

    It would put those of a pack into the repository, wherever the pack itself goes.
    """

    folder: Path
    own: Path
    """The repository's own, which are only read."""


def git(
    folder: Path, *arguments: str, stdin: bytes = b"", check: bool = True, objects: Elsewhere | None = None
) -> bytes:
    """Run git in a folder of the user's, with the user's own settings, and return its standard output.

    Nothing that the repository configures to run is run: no monitor, no hook, no pager, no prompt.

    Args:
        folder: The folder.
        arguments: Git's.
        stdin: Its standard input.
        check: Whether it is an error when it fails.
        objects: Where the objects go that git writes, if not into the repository.

    Raises:
        GitError: If it fails and `check` is true.
        SandboxConfigError: If there is no git on this machine.
    """
    env = environment()
    if objects is not None:
        own = quote_path(objects.own)
        env |= {"GIT_OBJECT_DIRECTORY": str(objects.folder), "GIT_ALTERNATE_OBJECT_DIRECTORIES": own}
    return _run(folder, arguments, env, stdin=stdin, check=check)


def find_git_path(folder: Path, name: str) -> Path:
    """Where a file of a repository is, such as `objects` or `shallow`; it need not be there.

    Raises:
        GitError: If git does not say.
    """
    return folder.absolute() / os.fsdecode(git(folder, "rev-parse", "--git-path", name).removesuffix(b"\n"))


def quote_path(path: Path) -> str:
    """A path as git takes it among alternates, whatever bytes it is of."""
    quoted = (f"\\{byte:03o}" if byte < _SPACE or byte in b'"\\' else chr(byte) for byte in os.fsencode(path))
    return os.fsdecode(f'"{"".join(quoted)}"'.encode("latin-1"))


def scratch_git(scratch: Path, *arguments: str, stdin: bytes = b"", check: bool = True) -> bytes:
    """Run git in a scratch repository and return its standard output.

    Nobody's settings count: where no host is, the home folder is one that the agent has written to.

    Raises:
        GitError: If it fails.
        SandboxConfigError: If there is no git on this machine.
    """
    return _run(scratch, arguments, _environment_alone(scratch), stdin=stdin, check=check)


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
            msg = f"git {_find_verb(arguments)} failed: {errors.read()[-500:].decode('utf-8', 'replace').strip()}"
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
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(  # noqa: S603 - a fixed program with separate arguments
            command, cwd=folder, env=env, stdin=pipe if stdin else subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except FileNotFoundError as error:
        raise SandboxConfigError(_NO_GIT) from error
    with child:
        try:
            output, errors = _await(child, folder, _find_verb(arguments), stdin)
        except BaseException:
            child.kill()
            raise
    if check and child.returncode != 0:
        msg = f"git {_find_verb(arguments)} failed: {errors[-500:].decode('utf-8', 'replace').strip()}"
        raise GitError(msg)
    return output


def _await(child: subprocess.Popen[bytes], folder: Path, name: str, stdin: bytes) -> tuple[bytes, bytes]:
    """What git says; it may wait for ever where a repository has a pipe in a file's place."""
    try:
        return child.communicate(stdin or None, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        pipe = find_pipe(folder)
        if pipe is not None:
            msg = f"git {name} waits for {pipe}, which is a pipe; remove it"
            raise GitStuckError(msg) from None
    try:
        return child.communicate(timeout=_TIMEOUT - _PATIENCE)
    except subprocess.TimeoutExpired as error:
        msg = f"git {name} took longer than {_TIMEOUT:.0f} s"
        raise GitError(msg) from error


def find_pipe(folder: Path) -> Path | None:
    """A pipe in a place where git reads a file; `None` if there is none."""
    for inside, _, names in os.walk(folder):
        all_of_it = ".git" in Path(inside).parts
        for name in names:
            path = folder.joinpath(inside, name)
            with suppress(OSError):
                if (all_of_it or name in _READ_EVERYWHERE) and stat.S_ISFIFO(path.lstat().st_mode):
                    return path
    return None


def _find_verb(arguments: Sequence[str]) -> str:
    """What git was to do, for a message: settings come first."""
    words = list(arguments)
    while words[0] == "-c":
        del words[:2]
    return words[0]


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
