"""`langchain-sandbox run`: one task on a folder, from start to end."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from langchain_sandbox.cli.options import add_common_options
from langchain_sandbox.cli.terminal import say
from langchain_sandbox.exits import CANCELLED, EXIT_OF, EXITS_TEXT, NOT_APPLIED

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from langchain_sandbox.handle import RunHandle
    from langchain_sandbox.sandbox import Sandbox


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    import argparse  # noqa: PLC0415 - for the one name below

    parser = commands.add_parser(
        "run",
        help="run a task in a sandbox",
        description="Run a task with OpenCode on a copy of a folder, the current one by default. What the agent does "
        "goes to standard error, the result to standard output. The folder itself is changed with --apply only.",
        epilog=EXITS_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", help="what the agent should do, in plain words; - reads it from standard input")
    add_common_options(parser)
    parser.add_argument("--timeout", metavar="SECONDS", help="how long the run may take (SANDBOX_TIMEOUT, else 300)")
    parser.add_argument("--json", action="store_true", help="print the whole result as one JSON object")
    parser.add_argument("--apply", action="store_true", help="put a completed run's changes into the folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the task, print its result, and give the exit code for how it ended."""
    from langchain_sandbox.cli.show import print_json, print_result  # noqa: PLC0415 - loads pydantic

    sandbox = _make_sandbox(options)
    task = sys.stdin.read() if options.task == "-" else options.task
    with _terminable():
        handle = _execute(sandbox, task)
    if handle is None:
        say("Cancelled before the run had ended, so nothing was kept of it; its container is being removed.")
        return CANCELLED
    result = handle.result()
    if options.json:
        print_json(result)
    else:
        print_result(result, discarded=sandbox.changes == "discard")
    if result.ok and handle.changes == "apply" and not result.applied:
        return NOT_APPLIED
    return EXIT_OF[result.status]


def _make_sandbox(options: argparse.Namespace) -> Sandbox:
    from langchain_sandbox.config import ModelEndpoint  # noqa: PLC0415 - loads LangChain
    from langchain_sandbox.sandbox import Sandbox  # noqa: PLC0415 - as above

    environ = dict(os.environ)
    if options.model is not None:
        environ["SANDBOX_MODEL_BASE_URL"] = options.model
    workspace = options.workspace
    if workspace is None:
        # Who types this in a repository means that repository.
        workspace = environ.get("SANDBOX_WORKSPACE") or "."
    return Sandbox(
        model=ModelEndpoint.from_env(environ),
        workspace=workspace,
        image=options.image,
        timeout=options.timeout,
        changes="apply" if options.apply else None,
    )


def _execute(sandbox: Sandbox, task: str) -> RunHandle | None:
    """A run that is over, at its end or by the first Ctrl-C; `None` if it did not end in time after one."""
    from langchain_sandbox.cli.progress import Progress  # noqa: PLC0415 - loads pydantic

    progress = Progress()
    handle: RunHandle | None = None
    try:
        with sandbox.start(task) as handle:
            try:
                for event in handle.events():
                    progress.show(event)
                handle.result()
            except KeyboardInterrupt:
                say("Cancelling; the container is being removed ...")
                raise
    except KeyboardInterrupt:
        # Leaving the block has cancelled the run, and waited for it for five seconds.
        return handle if handle is not None and handle.done else None
    return handle


@contextmanager
def _terminable() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C: a job that is stopped from outside keeps its partial result, too."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
