"""A typed answer: any JSON, drawn as what it says and not as its brackets."""

from __future__ import annotations

import json
from typing import Any, Final

from langchain_sandbox.html.markup import Html, cut, fold, tag, to_line

_DEPTH: Final = 5
_ITEMS: Final = 100
_TEXT: Final = 4_000
_RAW: Final = 40_000


def draw_answer(answer: Any) -> list[Html]:  # noqa: ANN401 - any JSON
    """Draw it; nothing if none was asked for.

    Args:
        answer: The answer.
    """
    if answer is None:
        return []
    raw = tag("pre", "", cut(json.dumps(answer, indent=2, ensure_ascii=False), _RAW))
    return [tag("div", "answer", _draw_value(answer, _DEPTH)), fold("As JSON", raw)]


def _draw_value(value: Any, depth: int) -> Html:  # noqa: ANN401 - any JSON
    if isinstance(value, dict | list) and value and not depth:
        return tag("code", "", cut(json.dumps(value, ensure_ascii=False), _TEXT))
    if isinstance(value, dict) and value:
        rows = [_draw_pair(name, item, depth) for name, item in list(value.items())[:_ITEMS]]
        return tag("dl", "pairs", *rows, *_draw_rest(len(value), "dd"))
    if isinstance(value, list) and value:
        items = [tag("li", "", _draw_value(item, depth - 1)) for item in value[:_ITEMS]]
        return tag("ol", "", *items, *_draw_rest(len(value), "li"))
    if isinstance(value, str) and value:
        return tag("span", "text", cut(value, _TEXT))
    return tag("span", "", to_line(json.dumps(value)))


def _draw_pair(name: str, item: Any, depth: int) -> Html:  # noqa: ANN401 - any JSON
    return tag("div", "", tag("dt", "", to_line(name)), tag("dd", "", _draw_value(item, depth - 1)))


def _draw_rest(count: int, element: str) -> list[Html]:
    return [tag(element, "faint", f"… and {count - _ITEMS:,} more")] if count > _ITEMS else []
