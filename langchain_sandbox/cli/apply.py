"""`langchain-sandbox apply`: a run's changes into a folder, days later if need be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_sandbox.cli.options import add_command, add_run, add_workspace
from langchain_sandbox.exits import COMPLETED

if TYPE_CHECKING:
    import argparse


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "apply",
        summary="put a run's changes into its folder",
        description="Put a run's changes into the folder that it worked on: all of them, or none. Where the folder has "
        "moved on, they are merged three ways; if that leaves a conflict, nothing is touched. Changes that would run "
        "or be obeyed with nobody starting the project, such as hooks and CI files, need --allow-risky.",
        examples="""
            langchain-sandbox apply last
            langchain-sandbox apply f6a2 --workspace ~/other-checkout
            langchain-sandbox apply result.json --allow-risky
        """,
    )
    add_run(parser)
    add_workspace(parser, "apply to this folder; the one that the run worked on by default")
    parser.add_argument(
        "--allow-risky", action="store_true", help="apply what would reach further than the project, too"
    )
    parser.add_argument(
        "--no-commits", action="store_true", help="apply the files, and leave the agent's commits alone"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Apply.

    Raises:
        SandboxConfigError: If there is no such run or folder.
        SandboxApplyError: If the changes cannot be applied; nothing was touched.
    """
    from langchain_sandbox.cli.applying import apply  # noqa: PLC0415 - loads pydantic
    from langchain_sandbox.cli.kept import choose_root, find_result  # noqa: PLC0415 - as above

    result = find_result(options.name)
    root = choose_root(options.workspace, result.workspace.root)
    apply(result, root, allow_risky=options.allow_risky, commits=not options.no_commits, as_json=options.json)
    return COMPLETED
