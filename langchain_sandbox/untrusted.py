"""Words from inside a container, made fit to be kept: valid Unicode, of bounded length and depth. Pure."""

from __future__ import annotations

import unicodedata
from typing import Any

_DEPTH = 8
_ITEMS = 200
_CHARACTERS = 16 * 1024
_STEERING = {"Cc", "Cf", "Cs"}  # control characters, invisible ones, and half characters


def clean_text(value: object, limit: int) -> str:
    """A value as text that can be written anywhere; nothing for what is not text.

    Args:
        value: As it came.
        limit: Characters to keep.
    """
    if not isinstance(value, str):
        return ""
    # Half a character is valid in JSON and in Python, and an error in UTF-8.
    return value[:limit].encode("utf-8", "replace").decode("utf-8")


def clean_name(path: str) -> str:
    """A file's name as text; bytes that are not Unicode are shown as escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def strip_controls(text: str) -> str:
    """Take out what could steer a terminal or hide a text's order; line breaks and tabs stay."""
    return "".join(letter for letter in text if letter in "\n\t" or unicodedata.category(letter) not in _STEERING)


def show_controls(text: str) -> str:
    """Write as escapes what could steer a terminal or hide a text's order, for whoever has to see that it is there."""
    return "".join(
        letter
        if letter in "\n\t" or unicodedata.category(letter) not in _STEERING
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def show_controls_in(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """As `show_controls`, for all texts of a JSON value, the names in it too."""
    if isinstance(value, dict):
        return {show_controls(key): show_controls_in(item) for key, item in value.items()}
    if isinstance(value, list):
        return [show_controls_in(item) for item in value]
    return show_controls(value) if isinstance(value, str) else value


def clean_json(value: Any, *, depth: int = _DEPTH, budget: list[int] | None = None) -> Any:  # noqa: ANN401 - any JSON
    """A JSON value with long texts cut, deep parts left out, and about 16 KiB of text in all."""
    left = [_CHARACTERS] if budget is None else budget
    if isinstance(value, str):
        text = clean_text(value, max(0, left[0]))
        left[0] -= len(text)
        return text
    if isinstance(value, dict):
        items = list(value.items())[:_ITEMS] if depth else []
        return {
            clean_json(str(key), budget=left): clean_json(item, depth=depth - 1, budget=left) for key, item in items
        }
    if isinstance(value, list):
        return [clean_json(item, depth=depth - 1, budget=left) for item in value[:_ITEMS]] if depth else []
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**63 else str(value)[:50]
    return value if isinstance(value, float | bool | None) else ""
