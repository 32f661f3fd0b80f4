"""`langchain-sandbox run`: one task on a folder, from start to end."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_sandbox.cli.interrupts import interruptible
from langchain_sandbox.cli.options import add_command, add_common_options, choose_workspace, complete_with
from langchain_sandbox.cli.terminal import say
from langchain_sandbox.exits import CANCELLED, EXIT_OF, NOT_APPLIED

if TYPE_CHECKING:
    import argparse

    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.handle import RunHandle
    from langchain_sandbox.request import RunOptions
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.revision import Revision
    from langchain_sandbox.sandbox import Sandbox

_DESCRIPTION = """\
Run a task with OpenCode on a copy of a folder, the current one by default. What the agent does goes to standard error;
what it said, the diff and a summary go to standard output. The folder itself is changed with --apply and --review only.

A task that begins with a slash is a command; `langchain-sandbox commands` lists those that there are.

With --revise the words say what is to be different in an earlier run, which the new one goes on from: its changes are
in the copy from the start, and what comes out holds the work of both.

Ctrl-C ends the run, removes its container and keeps what was done until then; a second Ctrl-C leaves at once.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "run",
        summary="run a task in a sandbox",
        description=_DESCRIPTION,
        examples="""
            langchain-sandbox run "Make the failing test pass."
            langchain-sandbox run --review /fix-tests              # asks before it changes the folder
            langchain-sandbox run /refactor-audit src              # a command, with what it takes
            langchain-sandbox run --revise last "Test it, too."    # goes on from an earlier run
            langchain-sandbox run --json - < task.md > result.json # in a script
        """,
    )
    task = parser.add_argument(
        "task",
        nargs="+",
        help="what the agent should do, in plain words, or a /command; - reads it from standard input",
    )
    complete_with(task, "commands")
    add_common_options(parser)
    parser.add_argument("--timeout", metavar="SECONDS", help="how long the run may take (SANDBOX_TIMEOUT, else 300)")
    revise = parser.add_argument(
        "--revise",
        metavar="RUN",
        help="go on from an earlier run, with its task; the words say what is to be different. RUN is its id, four or "
        "more of its first digits, `last`, or a file with a result's JSON",
    )
    complete_with(revise, "runs")
    parser.add_argument(
        "--schema", metavar="FILE", type=Path, help="have a typed answer, as the JSON Schema in FILE says"
    )
    changes = parser.add_mutually_exclusive_group()
    changes.add_argument("--apply", action="store_true", help="put a completed run's changes into the folder")
    changes.add_argument("--review", action="store_true", help="show a completed run's changes, and ask")
    parser.add_argument("--json", action="store_true", help="print the whole result as one JSON object")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the whole result to FILE, as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the task, print its result, and give the exit code for how it ended.

    Raises:
        SandboxConfigError: If what was asked for cannot work.
        SandboxUnavailableError: If the engine or the image is not there.
    """
    from langchain_sandbox.cli.answer import print_json, print_result, write_json  # noqa: PLC0415 - loads pydantic
    from langchain_sandbox.cli.kept import find_applied  # noqa: PLC0415 - as above
    from langchain_sandbox.cli.summary import describe_changes  # noqa: PLC0415 - as above

    _check(options)
    task = read_task(options.task)
    schema = _read_schema(options.schema)
    asked: RunOptions = {"output": schema}
    if options.revise is not None:
        asked["revision"] = revision = _find_revision(options.revise, task)
        options.workspace = options.workspace or revision.result.workspace.root
    sandbox = _make_sandbox(options)
    with interruptible():
        ended = _execute(sandbox, None if options.revise is not None else task, asked)
    if ended is None:
        return CANCELLED
    result, changes = ended
    if options.output is not None:
        options.output.write_text(f"{write_json(result)}\n", encoding="ascii")
    if options.json:
        print_json(result)
    elif options.review and result.ok:
        from langchain_sandbox.cli.review import review  # noqa: PLC0415 - most runs need none

        print_result(result, then=[])
        return review(result, changes=changes)
    else:
        applied_to = find_applied(result.run_id) or (result.workspace.root if result.applied else None)
        print_result(result, then=describe_changes(result, applied_to=applied_to))
    if result.ok and changes == "apply" and not result.applied:
        return NOT_APPLIED
    return EXIT_OF[result.status]


def read_task(words: list[str]) -> str:
    """The task that was typed: one word as it is, several with spaces between.

    Args:
        words: As the shell gives them: what was in quotes is one, so it gets quotes again among others. A single `-`
            stands for standard input.

    Raises:
        SandboxConfigError: If there is no standard input.
    """
    if words == ["-"]:
        if sys.stdin is None:
            from langchain_sandbox.errors import SandboxConfigError  # noqa: PLC0415 - loads LangChain

            msg = "The task is to be read from standard input, which is closed."
            raise SandboxConfigError(msg)
        return sys.stdin.read()
    if len(words) == 1:
        return words[0]
    return " ".join(word if word and not any(map(str.isspace, word)) else shlex.quote(word) for word in words)


def _check(options: argparse.Namespace) -> None:
    """Refuse before the run what would be of no use after it."""
    from langchain_sandbox.errors import SandboxConfigError  # noqa: PLC0415 - loads LangChain

    if options.review and options.json:
        msg = "--review is for people and --json for programs; leave one out."
        raise SandboxConfigError(msg)
    if options.review and not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        msg = (
            "--review asks on a terminal, and there is none. Leave it out: the changes are kept, and "
            "`langchain-sandbox apply RUN` applies them later."
        )
        raise SandboxConfigError(msg)
    if options.output is not None and (options.output.is_dir() or not options.output.absolute().parent.is_dir()):
        msg = f"--output {options.output}: that is no place for a file."
        raise SandboxConfigError(msg)


def _read_schema(file: Path | None) -> dict[str, Any] | None:
    from langchain_sandbox.errors import SandboxConfigError  # noqa: PLC0415 - loads LangChain

    if file is None:
        return None
    try:
        schema = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        msg = f"--schema {file} cannot be read: {error}"
        raise SandboxConfigError(msg) from error
    if not isinstance(schema, dict):
        msg = f'--schema {file} is no JSON Schema, which is an object such as {{"type": "object"}}.'
        raise SandboxConfigError(msg)
    return schema


def _find_revision(name: str, comment: str) -> Revision:
    """The earlier run, and what is to be different.

    Raises:
        SandboxConfigError: If there is no such run, or nothing is said.
    """
    from langchain_sandbox.cli.kept import find_result  # noqa: PLC0415 - loads pydantic
    from langchain_sandbox.revision import Revision  # noqa: PLC0415 - as above

    return Revision(find_result(name), comment)


def _make_sandbox(options: argparse.Namespace) -> Sandbox:
    from langchain_sandbox.config import ModelEndpoint  # noqa: PLC0415 - loads LangChain
    from langchain_sandbox.sandbox import Sandbox  # noqa: PLC0415 - as above

    environ = dict(os.environ)
    if options.model is not None:
        environ["SANDBOX_MODEL_BASE_URL"] = options.model
    return Sandbox(
        model=ModelEndpoint.from_env(environ),
        workspace=choose_workspace(options),
        image=options.image,
        runtime=options.runtime,
        timeout=options.timeout,
        changes="apply" if options.apply else "review" if options.review else None,
        pool=0,  # whatever the environment says: there will be no second task
    )


def _execute(sandbox: Sandbox, task: str | None, asked: RunOptions) -> tuple[SandboxResult, ChangesPolicy] | None:
    """A run from its start to its end, or to the first Ctrl-C.

    Returns:
        Its result, and what was to become of its changes; `None` if it did not end in time after a Ctrl-C.
    """
    from langchain_sandbox.cli.progress import open_progress  # noqa: PLC0415 - loads pydantic

    handle: RunHandle | None = None
    try:
        handle = sandbox.start(task, **asked)
        with open_progress(handle.timeout) as progress:
            try:
                for event in handle.events():
                    progress.show(event)
                return handle.result(), handle.changes
            except KeyboardInterrupt:
                progress.note("Cancelling; the container is being removed ...")
                with handle:  # leaving it cancels the run, and waits for it for five seconds
                    pass
    except KeyboardInterrupt:
        _leave(handle)
    if handle is not None and handle.done:
        return handle.result(), handle.changes
    say("Cancelled before the run had ended, so nothing was kept of it; its container is being removed.")
    return None


def _leave(handle: RunHandle | None) -> None:
    """End the process at once: its usual end would wait for a run that is being cancelled.

    The container notices that nobody holds its other end, and removes itself.
    """
    kept = f" What is kept of it: langchain-sandbox show {handle.run_id}" if handle is not None and handle.done else ""
    say(f"Left at once.{kept}")
    sys.stdout.flush()
    os._exit(CANCELLED)
