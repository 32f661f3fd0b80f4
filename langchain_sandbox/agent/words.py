"""OpenCode's words as they are told: events with long texts shortened, an answer's text, errors, a log's end."""

from __future__ import annotations

import json
import os
from typing import Any

_TEXT_CAP = 32 * 1024
_ITEMS_CAP = 200
_ANSWER_CAP = 4 * 1024 * 1024  # characters, as many as the host keeps
_ANSWER_SIZE = 12 * 1024 * 1024  # bytes as they travel, which leaves room in a message for what else it says
_DEPTH = 8


def cap(value: Any, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON
    """The same with long texts shortened: a tool may print megabytes, and each event repeats them. Pure."""
    if isinstance(value, str):
        return value if len(value) <= _TEXT_CAP else value[:_TEXT_CAP] + "… (shortened)"
    if isinstance(value, dict) and depth < _DEPTH:
        # `metadata` repeats a tool's output as it grows; the output itself follows.
        return {key: cap(item, depth + 1) for key, item in value.items() if key != "metadata"}
    if isinstance(value, list) and depth < _DEPTH:
        return [cap(item, depth + 1) for item in value[:_ITEMS_CAP]]
    return value if isinstance(value, int | float | bool | None) else str(value)[:200]


def join_texts(reply: dict[str, Any]) -> str:
    """The text of an answer, without its thoughts and tools. Pure."""
    return "\n".join(part["text"] for part in reply.get("parts", ()) if part.get("type") == "text")


def cut_answer(text: str) -> tuple[str, bool]:
    """As much of an answer as is kept and fits a message, and whether there was more. Pure."""
    kept = text[:_ANSWER_CAP]
    while (size := len(json.dumps(kept))) > _ANSWER_SIZE:  # a character may travel as twelve
        kept = kept[: len(kept) * _ANSWER_SIZE // size]
    return kept, len(kept) < len(text)


def read_error(error: object) -> dict[str, str] | None:
    """The name and message of an error as OpenCode tells it; `None` for none. Pure."""
    if not isinstance(error, dict):
        return None
    data = error.get("data")
    message = data.get("message") if isinstance(data, dict) else None
    return {"name": str(error.get("name")), "message": str(message or "")[:4000]}


def read_tail(path: str) -> str:
    """The last words of a file; empty where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 4000))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
