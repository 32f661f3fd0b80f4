"""Words on a terminal: colours only where somebody sees them, marks only where they can be written, nothing hostile."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal

from langchain_sandbox.untrusted import show_controls, strip_controls

if TYPE_CHECKING:
    from typing import TextIO

Colour = Literal["red", "green", "yellow", "cyan", "grey", "bold"]

_CODES: dict[Colour, str] = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "grey": "90", "bold": "1"}


def say(text: str) -> None:
    """Write a line for people to standard error, whatever the text is."""
    sys.stderr.write(f"{strip_controls(text)}\n")
    sys.stderr.flush()


def is_screen(stream: TextIO | None) -> bool:
    """Whether a stream ends on a terminal that can do more than print one line below the other."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}


def is_coloured(stream: TextIO) -> bool:
    """Whether what is written there may have colours: it is a terminal, and `NO_COLOR` is not set."""
    return is_screen(stream) and not os.environ.get("NO_COLOR")


def paint(text: str, colour: Colour | None, stream: TextIO) -> str:
    """A text in a colour, where the stream takes colours.

    Args:
        text: What has no control characters any more.
        colour: `None` leaves the text as it is.
        stream: Where it will be written.
    """
    if colour is None or not text or not is_coloured(stream):
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def write_mark(mark: str, plain: str, stream: TextIO) -> str:
    """A sign such as ✓ where the stream's encoding has it, else what stands for it.

    Args:
        mark: The sign.
        plain: The same in ASCII.
        stream: Where it will be written.
    """
    try:
        mark.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return plain
    return mark


def show_name(text: str) -> str:
    """A path, a subject or a command's name on one line, whatever it holds; what is odd in it can be seen."""
    return show_controls(text).replace("\n", "\\n").replace("\t", "\\t")
