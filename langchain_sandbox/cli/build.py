"""`langchain-sandbox build`: make the image that runs start from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from langchain_sandbox.cli.terminal import say
from langchain_sandbox.exits import COMPLETED

if TYPE_CHECKING:
    import argparse


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "build",
        help="build the sandbox image",
        description="Build the sandbox image, where the engine does not have it. Its tag is all that goes to standard "
        "output.",
    )
    parser.add_argument("--rebuild", action="store_true", help="run every step again, to take in security updates")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Build, with the progress on standard error."""
    from langchain_sandbox.engine.build import build_image  # noqa: PLC0415 - loads the docker library

    tag = build_image(progress=say, rebuild="always" if options.rebuild else "if-missing")
    sys.stdout.write(f"{tag}\n")
    return COMPLETED
