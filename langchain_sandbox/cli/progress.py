"""A run's events as lines on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from langchain_sandbox.cli.terminal import paint
from langchain_sandbox.untrusted import strip_controls

if TYPE_CHECKING:
    from langchain_sandbox.cli.terminal import Colour
    from langchain_sandbox.events import SandboxEvent

_WIDTH = 160


class Progress:
    """Writes what happens. Texts come in pieces of a few letters, so they are held until a line is whole."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0.0

    def show(self, event: SandboxEvent) -> None:
        """Write the lines that an event makes."""
        if event.type == "text":
            self._at = event.at if not self._text else self._at
            *lines, self._text = (self._text + event.text).split("\n")
            for line in lines:
                self._write(line)
            return
        if self._text:
            self._write(self._text)
            self._text = ""
        words, colour = describe_event(event)
        if words:
            self._at = event.at
            self._write(words, colour)

    def _write(self, words: str, colour: Colour | None = None) -> None:
        line = " ".join(strip_controls(words).split())
        if line:
            clock = paint(f"[{self._at:6.1f} s]", "grey", sys.stderr)
            sys.stderr.write(f"{clock} {paint(shorten(line), colour, sys.stderr)}\n")
            sys.stderr.flush()


def describe_event(event: SandboxEvent) -> tuple[str, Colour | None]:
    """An event in one line; empty where it says nothing that the others do not."""
    match event.type:
        case "started":
            return f"container {event.container} is up, with the model {event.model}; OpenCode boots", "grey"
        case "tool_started":
            return f"-> {event.tool}: {_describe_input(event.input)}", "cyan"
        case "tool_ended":
            last = event.output.strip().rpartition("\n")[2]
            return f"<- {event.status}: {last}", "red" if event.status == "error" else None
        case "model_call":
            error = f", {event.error}" if event.error else ""
            tokens = f"{event.prompt_tokens} + {event.completion_tokens} tokens"
            return f"model call {event.index}: {tokens} in {event.duration:.1f} s{error}", "red" if error else "grey"
        case "warning":
            return f"warning: {event.message}", "yellow"
        case _:
            return "", None


def shorten(line: str) -> str:
    """A line that fits a wide window."""
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def _describe_input(given: dict[str, Any]) -> str:
    """What tells most about a tool's call: its command, its file, or else everything."""
    return str(given.get("command") or given.get("filePath") or given.get("pattern") or given or "")
