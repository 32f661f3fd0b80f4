"""PID 1 of the compose files' container: a headless run, or OpenCode's own screen."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

from langchain_sandbox.agent.harden import harden
from langchain_sandbox.agent.main import broken
from langchain_sandbox.errors import SandboxError
from langchain_sandbox.exits import EXIT_OF, NOT_APPLIED, USAGE

if TYPE_CHECKING:
    from langchain_sandbox.compose.headless import HeadlessRun

_ENDING = (signal.SIGTERM, signal.SIGINT)


def run_headless() -> NoReturn:
    """Run the task in the environment and print one JSON object; the exit code tells the ending."""
    # Blocked, so that one that comes before we are ready waits; threads inherit it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    harden()
    output = _take_output()
    threading.excepthook = broken
    from langchain_sandbox.compose.headless import HeadlessRun  # noqa: PLC0415 - after the descriptors are safe

    try:
        run = HeadlessRun(os.environ)
        threading.Thread(target=_await_interrupt, args=(run,), name="interrupt", daemon=True).start()
        try:
            fields = run.execute()
        except SandboxError:
            run.leave()
            raise
    except SandboxError as error:
        _leave(f"error: {error}\n", USAGE)
    with os.fdopen(output, "w", encoding="utf-8") as stdout:
        stdout.write(f"{json.dumps(fields)}\n")
    ending = fields["ending"]
    run.leave()
    words = f"{fields['status']}: {ending['message'].rstrip('.')}. {ending['hint']}".strip()
    _leave(f"{words}\n", NOT_APPLIED if run.apply_failed else EXIT_OF[fields["status"]])


def run_interactive() -> NoReturn:
    """Start OpenCode's screen on the terminal, with the model where it looks for it."""
    harden()
    from langchain_sandbox.compose.interactive import run  # noqa: PLC0415 - as above

    try:
        code = run(os.environ)
    except SandboxError as error:
        _leave(f"error: {error}\n", USAGE)
    _leave("", code)


def _await_interrupt(run: HeadlessRun) -> None:
    """Cancel the run when somebody outside says so; to whoever is inside, the same signals mean nothing."""
    while True:
        if signal.sigwaitinfo(_ENDING).si_pid == 0:  # not a process of this container
            run.cancel()


def _take_output() -> int:
    """Standard output is for the result alone: it moves to where nothing that we start or import can write."""
    output = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    return output


def _leave(words: str, code: int) -> NoReturn:
    sys.stderr.write(words)
    sys.stderr.flush()
    os._exit(code)
