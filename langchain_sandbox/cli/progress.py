"""What a run does, while it does it, on standard error: lines, and on a terminal a live status below them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, Self

from langchain_sandbox.cli.log import Log
from langchain_sandbox.cli.terminal import is_screen, paint

if TYPE_CHECKING:
    from langchain_sandbox.cli.log import Line
    from langchain_sandbox.events import SandboxEvent

_WIDTH = 160


class Progress(Protocol):
    """Shows one run, within a `with` block."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""

    def show(self, event: SandboxEvent) -> None:
        """Show the next event."""

    def note(self, words: str) -> None:
        """Say what the program itself does now."""


def open_progress(timeout: float) -> Progress:
    """The display that standard error can show.

    Args:
        timeout: Seconds that the run may take.
    """
    if not is_screen(sys.stderr):
        return LineProgress()
    from langchain_sandbox.cli.live import LiveProgress  # noqa: PLC0415 - loads rich

    return LiveProgress(timeout)


class LineProgress:
    """Writes one line below the other: for pipes, files, CI and terminals that can do nothing else."""

    def __init__(self) -> None:
        self._log = Log()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._log.rest():
            _write(line)

    def show(self, event: SandboxEvent) -> None:
        """Write the lines that an event makes."""
        for line in self._log.take(event):
            _write(line)

    def note(self, words: str) -> None:
        """Write a line."""
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()


def _write(line: Line) -> None:
    words = paint(shorten(line.words), line.colour, sys.stderr)
    sys.stderr.write(f"{paint(line.clock, 'grey', sys.stderr)} {words}\n")
    sys.stderr.flush()


def shorten(line: str) -> str:
    """A line that fits a wide window."""
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
