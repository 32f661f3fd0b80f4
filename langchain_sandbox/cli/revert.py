"""`langchain-sandbox revert`: a folder as it was before a run's changes were applied."""

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
        "revert",
        summary="take a run's changes out of its folder again",
        description="Put a folder back exactly as it was before a run's changes were applied: contents, permissions, "
        "branch and index. If something has changed there since, nothing is touched.",
        examples="""
            langchain-sandbox revert last
            langchain-sandbox revert f6a2 --json
        """,
    )
    add_run(parser)
    add_workspace(parser, "the folder; the one that the changes were applied to by default")
    parser.add_argument("--json", action="store_true", help="print what was done as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Revert.

    Raises:
        SandboxConfigError: If there is no such run or folder.
        SandboxApplyError: If the changes cannot be taken out; nothing was touched.
    """
    from langchain_sandbox.cli.applying import revert  # noqa: PLC0415 - loads pydantic
    from langchain_sandbox.cli.kept import choose_root, find_applied, find_result  # noqa: PLC0415 - as above

    result = find_result(options.name)
    root = choose_root(options.workspace, find_applied(result.run_id) or result.workspace.root)
    revert(result, root, as_json=options.json)
    return COMPLETED
