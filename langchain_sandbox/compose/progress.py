"""What happens in a run, as lines on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_sandbox.untrusted import strip_controls

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIDTH = 160


def describe_event(kind: str, fields: Mapping[str, Any]) -> str:
    """One line of progress; nothing for what is no news. Pure."""
    match kind:
        case "tool_started":
            given = fields["input"]
            words = f"-> {fields['tool']}: {given.get('command') or given.get('filePath') or ''}"
        case "tool_ended":
            words = f"<- {fields['status']}: {fields['output'].strip().rpartition(chr(10))[2]}"
        case "model_call":
            words = f"model call {fields['index']}: {fields['error'] or 'answered'}"
        case "warning":
            words = f"warning: {fields['message']}"
        case _:
            return ""
    return " ".join(strip_controls(words).split())[:_WIDTH]
