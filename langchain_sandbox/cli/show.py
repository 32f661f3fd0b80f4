"""`langchain-sandbox show`: a run that is over, as `run` showed it, as JSON, as a patch or as a page."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.cli.options import add_command, add_run
from langchain_sandbox.cli.terminal import say
from langchain_sandbox.exits import COMPLETED

if TYPE_CHECKING:
    import argparse

    from langchain_sandbox.result import SandboxResult


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "show",
        summary="show a run that is over",
        description="Show what came of a run: what the agent said, the diff and a summary, or with --html and --open "
        "a page with everything that is known of it.",
        examples="""
            langchain-sandbox show last --open
            langchain-sandbox show f6a2 --patch | git apply --check
            langchain-sandbox show result.json --html report.html
        """,
    )
    add_run(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="print the whole result as one JSON object")
    what.add_argument("--patch", action="store_true", help="print the patch alone, and all of it")
    what.add_argument("--html", metavar="FILE", type=Path, help="write a page about the run to FILE")
    parser.add_argument("--open", action="store_true", help="write that page, and open it in the browser")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show the run.

    Raises:
        SandboxConfigError: If there is no such run, or something of it cannot be read or written.
    """
    from langchain_sandbox.cli.answer import print_json, print_result  # noqa: PLC0415 - loads pydantic
    from langchain_sandbox.cli.kept import find_applied, find_result  # noqa: PLC0415 - as above
    from langchain_sandbox.cli.summary import describe_changes  # noqa: PLC0415 - as above

    result = find_result(options.name)
    if options.html is not None or options.open:
        _write_page(result, options)
    if options.json:
        print_json(result)
    elif options.patch:
        _print_patch(result)
    elif options.html is None and not options.open:
        _print_head(result)
        print_result(result, then=describe_changes(result, applied_to=find_applied(result.run_id)))
    return COMPLETED


def _print_head(result: SandboxResult) -> None:
    from langchain_sandbox.cli.terminal import paint  # noqa: PLC0415
    from langchain_sandbox.narration import to_line  # noqa: PLC0415

    task = to_line(result.settings.task)
    sys.stdout.write(f"{paint(f'run {result.run_id}', 'yellow', sys.stdout)}{f'  {task[:200]}' if task else ''}\n")
    if result.settings.revises:
        sys.stdout.write(f"revises {to_line(result.settings.revises)}  {to_line(result.settings.comment)[:200]}\n")
    sys.stdout.write("\n")


def _print_patch(result: SandboxResult) -> None:
    """For a program as it is, byte by byte; for the eye with nothing hidden in it."""
    from langchain_sandbox.cli.answer import paint_diff  # noqa: PLC0415 - loads pydantic

    patch = _read_patch(result)
    if sys.stdout.isatty():
        sys.stdout.write(f"{paint_diff(patch.decode('utf-8', 'backslashreplace'))}\n" if patch else "")
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(patch)


def _read_patch(result: SandboxResult) -> bytes:
    from langchain_sandbox.errors import SandboxConfigError  # noqa: PLC0415 - loads LangChain
    from langchain_sandbox.run_folder import RunFolder  # noqa: PLC0415 - as above

    if result.patch is not None or result.patch_reference is None:
        return (result.patch or "").encode()
    path = Path(result.patch_reference.path)
    path = path if path.exists() else RunFolder.of(result.run_id).patch
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"The patch {path} cannot be read: {error.strerror}."
        raise SandboxConfigError(msg) from error


def _write_page(result: SandboxResult, options: argparse.Namespace) -> None:
    from langchain_sandbox.errors import SandboxConfigError  # noqa: PLC0415 - loads LangChain

    page = _choose_page(result, options)
    try:
        result.to_html(page)
    except OSError as error:
        msg = f"The page {page} cannot be written: {error.strerror}."
        raise SandboxConfigError(msg) from error
    if not options.open or not _open(page):
        say(f"The page is {page}")


def _choose_page(result: SandboxResult, options: argparse.Namespace) -> Path:
    """Where the page goes: where the user says, else to what is kept of the run, else beside the result's file."""
    from langchain_sandbox.run_folder import RunFolder  # noqa: PLC0415 - loads LangChain

    if options.html is not None:
        chosen: Path = options.html.expanduser().absolute()
        return chosen
    folder = RunFolder.of(result.run_id).path
    return folder / "report.html" if folder.is_dir() else Path(options.name).absolute().with_suffix(".html")


def _open(page: Path) -> bool:
    """Open a page in the browser, and say whether there is one. Without a display, it would be one in this terminal."""
    import webbrowser  # noqa: PLC0415 - nobody else wants it

    if sys.platform != "darwin" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))):
        return False
    return webbrowser.open(page.as_uri())
