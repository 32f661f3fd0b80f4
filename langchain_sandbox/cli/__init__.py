"""The command `langchain-sandbox`. Each command has a file of its own, and loads what it needs when it runs.

Names come from their own modules, not from the package: its `__init__.py` may be that of the archived project of
the same name, and `doctor` has to work then.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from typing import TYPE_CHECKING

from langchain_sandbox._version import __version__
from langchain_sandbox.cli import build, doctor, gc, mcp, run
from langchain_sandbox.cli.terminal import say
from langchain_sandbox.exits import CANCELLED, EXITS_TEXT, FAILED, UNAVAILABLE, UNREAD, USAGE
from langchain_sandbox.installation import DISTRIBUTION, REINSTALL

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = (doctor, build, run, mcp, gc)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command line; `None` for the process's own.

    Returns:
        The exit code; `langchain-sandbox --help` lists them.
    """
    options = _build_parser().parse_args(arguments)
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
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except ModuleNotFoundError as error:
        say(f"langchain-sandbox: error: {DISTRIBUTION} is not installed whole: {error}. {REINSTALL}")
        return FAILED
    except Exception as error:
        # Loaded here, since it takes half a second that `--help` need not take.
        from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError  # noqa: PLC0415 - as said

        if not isinstance(error, SandboxConfigError | SandboxUnavailableError):
            raise
        say(f"langchain-sandbox: error: {error}")
        return USAGE if isinstance(error, SandboxConfigError) else UNAVAILABLE
    return code


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="langchain-sandbox",
        description="Run coding tasks with OpenCode in ephemeral, hardened containers, against your own model server.",
        epilog=EXITS_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one line, without the place in our code that Python would show."""
    say(f"langchain-sandbox: warning: {message}")
