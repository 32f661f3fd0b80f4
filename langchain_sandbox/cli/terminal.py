"""Words on a terminal: progress on standard error, colours only where somebody sees them, nothing that steers it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal

from langchain_sandbox.untrusted import strip_controls

if TYPE_CHECKING:
    from typing import TextIO

Colour = Literal["red", "green", "yellow", "cyan", "grey", "bold"]

_CODES: dict[Colour, str] = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "grey": "90", "bold": "1"}


def say(text: str) -> None:
    """Write a line for people to standard error, whatever the text is."""
    sys.stderr.write(f"{strip_controls(text)}\n")
    sys.stderr.flush()


def paint(text: str, colour: Colour | None, stream: TextIO) -> str:
    """A text in a colour, where the stream is a terminal and `NO_COLOR` is not set.

    Args:
        text: What has no control characters any more.
        colour: `None` leaves the text as it is.
        stream: Where it will be written.
    """
    if colour is None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"
