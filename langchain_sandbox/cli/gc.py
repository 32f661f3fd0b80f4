"""`langchain-sandbox gc`: remove what processes left that were killed."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from langchain_sandbox.cli.options import add_command
from langchain_sandbox.cli.terminal import say
from langchain_sandbox.exits import COMPLETED, UNAVAILABLE

if TYPE_CHECKING:
    import argparse


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "gc",
        summary="remove what killed processes left behind",
        description="Remove the containers and temporary folders whose process is gone. What a living process owns, "
        "and what another machine's processes own, is left alone. Every run does the same, so this is for whoever "
        "wants it done now.",
        examples="""
            langchain-sandbox gc
            langchain-sandbox gc --json
        """,
    )
    parser.add_argument("--json", action="store_true", help="print what was removed as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Sweep the folders, which needs no engine, then the containers."""
    import anyio  # noqa: PLC0415 - as the others, loaded when it is needed

    from langchain_sandbox.engine.scratch import sweep_scratch  # noqa: PLC0415 - as above
    from langchain_sandbox.errors import SandboxUnavailableError  # noqa: PLC0415 - as above

    folders = [str(folder) for folder in sweep_scratch()]
    containers: list[str] = []
    trouble = None
    try:
        containers = anyio.run(_collect_containers)
    except SandboxUnavailableError as error:
        trouble = f"Containers were not looked for. {error}"
    if options.json:
        sys.stdout.write(f"{json.dumps({'containers': containers, 'folders': folders, 'error': trouble})}\n")
    else:
        for kind, names in (("container", containers), ("folder", folders)):
            sys.stdout.writelines(f"removed {kind} {name}\n" for name in names)
        if not containers and not folders and trouble is None:
            sys.stdout.write("Nothing was left behind.\n")
    if trouble is not None:
        say(f"langchain-sandbox: error: {trouble}")
        return UNAVAILABLE
    return COMPLETED


async def _collect_containers() -> list[str]:
    from langchain_sandbox.engine.address import find_engine  # noqa: PLC0415 - as above
    from langchain_sandbox.engine.dial import reach  # noqa: PLC0415 - as above
    from langchain_sandbox.engine.docker import DockerEngine  # noqa: PLC0415 - as above

    async with reach(find_engine()) as address:
        return await DockerEngine(address).collect_garbage()
