"""A run's events as lines, before anybody decides where they are written. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_sandbox.activity import describe_event
from langchain_sandbox.narration import to_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.cli.terminal import Colour
    from langchain_sandbox.events import SandboxEvent


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Args:
        at: Seconds since the run began.
        words: What it says; nothing in it steers a terminal.
        colour: How it is painted, if it is.
    """

    at: float
    words: str
    colour: Colour | None = None

    @property
    def clock(self) -> str:
        """Its time, as it stands before it."""
        return f"[{self.at:6.1f} s]"


class Log:
    """Makes lines of events. Texts come in pieces of a few letters, so they are held until a line is whole."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0.0

    def take(self, event: SandboxEvent) -> Iterator[Line]:
        """The lines that are whole with the next event."""
        if event.type == "text":
            self._at = event.at if not self._text else self._at
            *pieces, self._text = (self._text + event.text).split("\n")
            yield from self._make(*pieces)
            return
        yield from self.rest()
        words = describe_event(event)
        if words:
            yield Line(event.at, words, choose_colour(event))

    def rest(self) -> Iterator[Line]:
        """The line that is not whole yet."""
        text, self._text = self._text, ""
        yield from self._make(text)

    def _make(self, *texts: str) -> Iterator[Line]:
        for words in map(to_line, texts):
            if words:
                yield Line(self._at, words)


def choose_colour(event: SandboxEvent) -> Colour | None:
    """What is to be noticed stands out, and what is only kept count of steps back."""
    match event.type:
        case "tool_started":
            return "cyan"
        case "tool_ended":
            return "red" if event.status == "error" else "grey"
        case "model_call":
            return "red" if event.error else "grey"
        case "started":
            return "grey"
        case "warning":
            return "yellow"
        case _:
            return None
