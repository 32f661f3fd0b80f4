"""What happens in a run, in one line for people. Pure, and in the containers that have no host, too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langchain_sandbox.untrusted import strip_controls

if TYPE_CHECKING:
    from collections.abc import Mapping

_TAG = re.compile(r"</?[a-z_]+>")
_LOOKED_AT = 2_000  # characters
_INSIDE = "/run/ws/repo/"
_TELLING = ("command", "filePath", "path", "pattern", "description", "url")


def narrate(kind: str, fields: Mapping[str, Any]) -> str:
    """An event in one line, without anything that could steer a terminal; nothing for what is no news.

    Args:
        kind: The event's `type`.
        fields: The event's other fields.
    """
    match kind:
        case "started":
            model = fields["model"]  # none where the container is held for commands
            words = f"container {fields['container']} is up" + (
                f"; OpenCode boots, with the model {model}" if model else ""
            )
        case "text":
            words = fields["text"]
        case "tool_started":
            words = f"-> {narrate_call(fields['tool'], fields['input'])}"
        case "tool_ended":
            words = f"<- {fields['status']}: {_find_last_word(fields['output'])}"
        case "model_call":
            tokens = f"{fields['prompt_tokens']} + {fields['completion_tokens']} tokens"
            error = f", {fields['error']}" if fields["error"] else ""
            words = f"model call {fields['index']}: {tokens} in {fields['duration']:.1f} s{error}"
        case "connection":
            what = fields["refused"] or f"{fields['sent']} bytes out, {fields['received']} in"
            words = f"connection to {fields['host']}:{fields['port']}: {what}"
        case "warning":
            words = f"warning: {fields['message']}"
        case _:
            return ""
    return to_line(words)


def narrate_call(tool: str, given: Mapping[str, Any]) -> str:
    """A tool's call in one line.

    Args:
        tool: The tool's name.
        given: Its arguments.
    """
    telling = narrate_input(given)
    return to_line(f"{tool}: {telling}" if telling else tool)


def _find_last_word(output: str) -> str:
    """The last line that says something: OpenCode's tools put what they print between tags."""
    lines = [line.strip() for line in output[-_LOOKED_AT:].split("\n")]
    return next((line for line in reversed(lines) if line and not _TAG.fullmatch(line)), "")


def narrate_input(given: Mapping[str, Any]) -> str:
    """What tells most about a tool's call, in one line: its command, its file, or else all of its arguments."""
    telling = next((given[name] for name in _TELLING if given.get(name)), given or "")
    return to_line(str(telling).replace(_INSIDE, ""))


def to_line(words: str) -> str:
    """Words on one line, without anything that could steer a terminal."""
    return " ".join(strip_controls(words).split())
