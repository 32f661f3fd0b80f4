"""The steps of the agent and the calls of the model, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_sandbox.html.amounts import format_seconds
from langchain_sandbox.html.markup import ITEMS, Html, cut, draw_all, fold, rest_row, row, span, table, tag, to_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STEPS: Final = 300
_ROOM: Final = 400_000  # characters of all steps
_OPEN: Final = 20  # steps that need no click
_CALLS: Final = 300
_COLUMNS: Final = ("Call", "At", "First byte", "Took", "In", "Out", "Ended")
_TEXT: Final = 2_000
_OK: Final = 200
_USUAL_REASONS: Final = {None, "stop", "tool-calls"}


def draw_steps(fields: Mapping[str, Any]) -> list[Html]:
    """What the agent did, step by step, and what each call of the model cost."""
    steps, calls = fields["steps"], fields["model_calls"]
    parts: list[Html] = []
    if steps:
        items = [tag("li", "", item) for item in draw_all(steps, _draw_step, "steps", _count_fitting(steps))]
        story = tag("ol", "story", *items)
        parts.append(story if len(steps) <= _OPEN else fold(f"{len(steps):,} steps", story))
    if calls:
        parts.append(fold(f"Model calls, one by one ({len(calls):,})", _draw_calls(calls)))
    return parts


def _count_fitting(steps: Sequence[Mapping[str, Any]]) -> int:
    """How many of the steps there is room for."""
    left = _ROOM
    for count, step in enumerate(steps[:_STEPS]):
        uses = step["uses"][:ITEMS] or [{"tool": tool, "title": ""} for tool in step["tools"][:ITEMS]]
        left -= min(len(step["text"]), _TEXT) + sum(len(use["tool"]) + len(use["title"]) for use in uses)
        if left < 0:
            return max(1, count)
    return _STEPS


def _draw_step(step: Mapping[str, Any]) -> Html:
    took = [] if step["seconds"] is None else [span("faint", f"took {format_seconds(step['seconds'])}")]
    at = [] if step["at"] is None else [span("faint at", f"at {format_seconds(step['at'])}")]
    reason = [] if step["reason"] in _USUAL_REASONS else [span("chip", to_line(step["reason"]))]
    head = row("row", span("number", f"{step['index'] + 1}"), *at, *took, *reason)
    said = step["text"].strip()
    words = [tag("div", "text", cut(said, _TEXT))] if said else []
    if step["uses"]:
        return tag("div", "step", head, *words, *draw_all(step["uses"], _draw_use, "tools"))
    return tag("div", "step", head, *words, *draw_all(step["tools"], _draw_tool, "tools"))


def _draw_use(use: Mapping[str, Any]) -> Html:
    marks = {"completed": ("ok", "✓"), "error": ("minus", "✕ failed")}
    css, mark = marks.get(use["status"] or "", ("look", "… never ended"))
    took = [] if use["seconds"] is None else [span("faint", format_seconds(use["seconds"]))]
    title = [span("wide", to_line(use["title"]))] if use["title"] else []
    return row("use", span(css, mark), tag("b", "", to_line(use["tool"])), *title, *took)


def _draw_tool(tool: str) -> Html:
    return row("use", tag("b", "", to_line(tool)))


def _draw_calls(calls: Sequence[Mapping[str, Any]]) -> Html:
    rows = [_draw_call(call) for call in calls[:_CALLS]]
    return table("calls", _COLUMNS, [*rows, *rest_row(len(calls) - _CALLS, "calls", _COLUMNS)])


def _draw_call(call: Mapping[str, Any]) -> Html:
    ended = to_line(call["error"]) if call["error"] else str(call["status"] or "no answer")
    good = not call["error"] and call["status"] == _OK
    cells = [
        format_seconds(call["at"]),
        format_seconds(call["first_byte"]),
        format_seconds(call["duration"]),
        f"{call['prompt_tokens']:,}",
        f"{call['completion_tokens']:,}",
    ]
    return tag(
        "tr",
        "",
        tag("th", "", f"{call['index'] + 1}", scope="row"),
        *(tag("td", "", cell) for cell in cells),
        tag("td", "ok" if good else "minus", ended),
    )
