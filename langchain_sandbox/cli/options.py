"""What the commands' parsers have in common."""

from __future__ import annotations

import argparse
import os
import textwrap
from typing import TYPE_CHECKING

from langchain_sandbox.exits import EXITS_TEXT

if TYPE_CHECKING:
    from langchain_sandbox.cli.completion import Completer


class Formatter(argparse.HelpFormatter):
    """Fills paragraphs to the window's width, and leaves what is indented, such as examples, as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = textwrap.dedent(text).strip("\n").split("\n\n")
        return "\n\n".join(
            block if "\n " in f"\n{block}" else textwrap.fill(" ".join(block.split()), width, initial_indent=indent)
            for block in blocks
        )


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    *,
    summary: str,
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    """Add a command's parser.

    Args:
        commands: Where to add it.
        name: The command.
        summary: What it does, for the list of commands.
        description: What it does, for its own help. Paragraphs are filled.
        examples: Lines to be typed, each with a comment.
    """
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{textwrap.indent(textwrap.dedent(examples).strip(), '  ')}\n\n{EXITS_TEXT}",
        formatter_class=Formatter,
    )


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the work is, where the model is, which image and which runtime."""
    add_workspace(parser, "folder that tasks work on a copy of (SANDBOX_WORKSPACE)")
    parser.add_argument(
        "--model",
        metavar="URL",
        help="address of the model server (SANDBOX_MODEL_BASE_URL); the model's name and key are read from "
        "SANDBOX_MODEL_NAME and SANDBOX_MODEL_API_KEY",
    )
    parser.add_argument("--image", metavar="NAME", help="an image derived from the package's own (SANDBOX_IMAGE)")
    parser.add_argument(
        "--runtime", metavar="NAME", help="the engine's OCI runtime, such as runsc, gVisor's (SANDBOX_RUNTIME)"
    )


def add_workspace(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add the option that names a folder."""
    parser.add_argument("--workspace", metavar="DIR", help=help_text)


def choose_workspace(options: argparse.Namespace) -> str:
    """The folder that is meant: who types nothing in a repository means that repository."""
    if options.workspace is not None:
        return str(options.workspace)
    return os.environ.get("SANDBOX_WORKSPACE") or "."


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a run."""
    run = parser.add_argument(
        "name",
        metavar="RUN",
        help="a run: its id, four or more of its first digits, `last`, or a file with a result's JSON",
    )
    complete_with(run, "runs")


def complete_with(argument: argparse.Action, completer: Completer) -> None:
    """Say what a shell offers for an argument.

    Args:
        argument: The argument.
        completer: What is offered: names of runs, or of a repository's commands.
    """

    def complete(*, parsed_args: argparse.Namespace, **_: object) -> list[str]:
        from langchain_sandbox.cli.completion import offer  # noqa: PLC0415 - only a shell wants it

        return offer(completer, parsed_args)

    argument.completer = complete  # type: ignore[attr-defined] # where argcomplete looks for it
