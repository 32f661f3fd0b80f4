"""Options that more than one command has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the work is, where the model is, and which image."""
    parser.add_argument("--workspace", metavar="DIR", help="folder that tasks work on a copy of (SANDBOX_WORKSPACE)")
    parser.add_argument(
        "--model",
        metavar="URL",
        help="address of the model server (SANDBOX_MODEL_BASE_URL); the model's name and key are read from "
        "SANDBOX_MODEL_NAME and SANDBOX_MODEL_API_KEY",
    )
    parser.add_argument("--image", metavar="NAME", help="an image derived from the package's own (SANDBOX_IMAGE)")
