"""A typed answer: any JSON, drawn as what it says and not as its brackets."""

from __future__ import annotations

import json
from typing import Any, Final

from langchain_sandbox.html.markup import Html, cut, fold, tag, to_line

_DEPTH: Final = 5
_ITEMS: Final = 100
_TEXT: Final = 4_000
_ROOM: Final = 200_000  # characters of all
_LEAST: Final = 20  # that a value counts for, however short
_RAW: Final = 40_000


def draw_answer(answer: Any) -> list[Html]:  # noqa: ANN401 - any JSON
    """Draw it; nothing if none was asked for.

    Args:
        answer: The answer.
    """
    if answer is None:
        return []
    raw = tag("pre", "", cut(json.dumps(answer, indent=2, ensure_ascii=False), _RAW))
    return [tag("div", "answer", _draw_value(answer, _DEPTH, [_ROOM])), fold("As JSON", raw)]


def _draw_value(value: Any, depth: int, room: list[int]) -> Html:  # noqa: ANN401 - any JSON
    if room[0] <= 0:
        return tag("span", "faint", "…")
    room[0] -= _LEAST
    if isinstance(value, dict | list) and value and not depth:
        return _draw_text("code", "", json.dumps(value, ensure_ascii=False), room)
    if isinstance(value, dict) and value:
        rows = [_draw_pair(name, item, depth, room) for name, item in list(value.items())[:_ITEMS]]
        return tag("dl", "pairs", *rows, *_draw_rest(len(value), "dd"))
    if isinstance(value, list) and value:
        items = [tag("li", "", _draw_value(item, depth - 1, room)) for item in value[:_ITEMS]]
        return tag("ol", "", *items, *_draw_rest(len(value), "li"))
    if isinstance(value, str) and value:
        return _draw_text("span", "text", value, room)
    return tag("span", "", to_line(json.dumps(value)))


def _draw_text(element: str, css: str, text: str, room: list[int]) -> Html:
    room[0] -= min(len(text), _TEXT)
    return tag(element, css, cut(text, _TEXT))


def _draw_pair(name: str, item: Any, depth: int, room: list[int]) -> Html:  # noqa: ANN401 - any JSON
    said = to_line(name)
    room[0] -= len(said)
    return tag("div", "", tag("dt", "", said), tag("dd", "", _draw_value(item, depth - 1, room)))


def _draw_rest(count: int, element: str) -> list[Html]:
    return [tag(element, "faint", f"… and {count - _ITEMS:,} more")] if count > _ITEMS else []
