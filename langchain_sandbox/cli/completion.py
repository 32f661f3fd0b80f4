"""`langchain-sandbox completion`: what a shell needs to complete commands, options, runs and a repository's commands.

The shell starts this program anew for every TAB, so nothing slow may be loaded for an answer.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from langchain_sandbox.cli.options import add_command, choose_workspace
from langchain_sandbox.exits import COMPLETED

if TYPE_CHECKING:
    import argparse

Completer = Literal["runs", "commands"]

ASKED = "_ARGCOMPLETE"
"""The variable that is set where a shell asks."""
PROGRAM = "langchain-sandbox"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "completion",
        summary="print what a shell needs to complete the rest",
        description="Print a script for the shell to read. With it, TAB completes commands, options, the names of "
        "runs, and the commands that the repository offers.",
        examples="""
            eval "$(langchain-sandbox completion bash)"          # in ~/.bashrc
            eval "$(langchain-sandbox completion zsh)"           # in ~/.zshrc, after compinit
            langchain-sandbox completion fish | source           # in ~/.config/fish/config.fish
        """,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that reads it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from argcomplete import shellcode  # type: ignore[attr-defined] # noqa: PLC0415 - as all below: no other command wants it

    sys.stdout.write(f"{shellcode([PROGRAM], shell=options.shell).strip()}\n")
    return COMPLETED


def answer(parser: argparse.ArgumentParser) -> None:
    """Answer a shell, and end the process."""
    from argcomplete import autocomplete  # noqa: PLC0415

    # `errors` makes do without LangChain, as it has to inside the container; loading it would take half a second.
    sys.modules["langchain_core.tools"] = None  # type: ignore[assignment]
    autocomplete(parser, always_complete_options=False)


def offer(completer: Completer, options: argparse.Namespace) -> list[str]:
    """What may stand there; nothing where that cannot be found out.

    Args:
        completer: What is asked for.
        options: What has been typed already.
    """
    try:
        return _list_runs() if completer == "runs" else _list_commands(choose_workspace(options))
    except (OSError, ValueError):
        return []


def _list_runs() -> list[str]:
    from langchain_sandbox.run_folder import RunFolder, last_change, state_folder  # noqa: PLC0415

    names = []
    with os.scandir(state_folder() / "runs") as found:
        for entry in sorted(found, key=last_change, reverse=True):
            with suppress(ValueError):
                names.append(RunFolder.of(entry.name).path.name)
    return ["last", *names]


def _list_commands(workspace: str) -> list[str]:
    from langchain_sandbox.commands.folder import load_repository_commands  # noqa: PLC0415

    commands, _ = load_repository_commands(Path(workspace))
    return [f"/{name}" for name in sorted(commands)]
