"""The command `langchain-sandbox`. Each command has a file of its own, and loads what it needs when it runs.

Names come from their own modules, not from the package: its `__init__.py` may be that of the archived project of
the same name, and `doctor` has to work then.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from langchain_sandbox._version import __version__
from langchain_sandbox.cli import apply, build, commands, completion, doctor, gc, mcp, revert, run, runs, show
from langchain_sandbox.cli.options import Formatter
from langchain_sandbox.cli.terminal import say
from langchain_sandbox.exits import CANCELLED, EXITS_TEXT, FAILED, NOT_APPLIED, UNAVAILABLE, UNREAD, USAGE
from langchain_sandbox.installation import DISTRIBUTION, REINSTALL

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = (
    doctor,
    build,
    run,
    commands,
    apply,
    revert,
    runs,
    show,
    mcp,
    gc,
    completion,
)

_FIRST_STEPS = """\
first steps:
  langchain-sandbox build                                      # the image, once
  langchain-sandbox doctor                                     # is everything there?
  langchain-sandbox run --review "Make the failing test pass." # asks before it changes your folder

`langchain-sandbox COMMAND --help` has examples for each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command line; `None` for the process's own.

    Returns:
        The exit code; `langchain-sandbox --help` lists them.
    """
    _open_missing()
    parser = _build_parser()
    if completion.ASKED in os.environ:
        completion.answer(parser)
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not so where a test, or a notebook, has put in one of its own
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code: int = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return CANCELLED
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.errno == errno.EIO:
            return _leave_unread()
        return _explain(error)
    except Exception as error:  # noqa: BLE001 - told apart there
        return _explain(error)
    return code


def _open_missing() -> None:
    """Put nothing in the place of streams that the caller has closed: a socket would get their numbers otherwise."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with suppress(OSError):
                os.fstat(number)
                continue
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            if number:
                setattr(sys, name, open(number, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for the whole process


def _leave_unread() -> int:
    """Whoever read our output has gone, or the terminal has. Python would complain once more when it ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(nothing, stream.fileno())
    return UNREAD


def _explain(error: Exception) -> int:
    """Say what is wrong in one line, and give its exit code; what is nobody's fault but ours is raised again."""
    if isinstance(error, ModuleNotFoundError):
        say(f"langchain-sandbox: error: {DISTRIBUTION} is not installed whole: {error}. {REINSTALL}")
        return FAILED
    # Loaded here, since it takes half a second that `--help` need not take.
    from langchain_sandbox.errors import (  # noqa: PLC0415 - as said
        SandboxApplyError,
        SandboxConfigError,
        SandboxUnavailableError,
    )

    codes = {SandboxApplyError: NOT_APPLIED, SandboxConfigError: USAGE, SandboxUnavailableError: UNAVAILABLE}
    code = next((code for kind, code in codes.items() if isinstance(error, kind)), None)
    if code is None:
        raise error
    say(f"langchain-sandbox: error: {error}")
    return code


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="langchain-sandbox",
        description="Run coding tasks with OpenCode in ephemeral, hardened containers, against your own model server.",
        epilog=f"{_FIRST_STEPS}\n\n{EXITS_TEXT}",
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one line, without the place in our code that Python would show."""
    say(f"langchain-sandbox: warning: {message}")
