"""One axis of time with everything on it: phases, steps, uses of tools, calls of the model, and their tokens.

Drawings are SVG with per cent as their only unit across, so that one drawing fits every screen and every sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from langchain_sandbox.html.amounts import MOST, format_moment, format_seconds
from langchain_sandbox.html.markup import Html, span, tag, to_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_PHASES: Final = (
    ("created", "prepare", "Prepared"),
    ("started", "start", "Container started"),
    ("ready", "start", "Program answered"),
    ("booted", "boot", "OpenCode booted"),
    ("first_model_call", "ask", "First question"),
    ("worked", "work", "Worked"),
    ("total", "finish", "Removed, patch made"),
)
_KEY: Final = (
    "The light part of a model call is the wait for its first byte. Tokens: what the model read, and on top of it what "
    "it wrote."
)
_TICKS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MOST_TICKS: Final = 6
_LAST_TICK: Final = 94.0  # per cent; further right there is no room for words
_TIERS: Final = 5  # bars that stand below each other, where they overlap
_BARS: Final = 1_000
_HEIGHT: Final = 12
_GAP: Final = 4
_TALL: Final = 44
_THIN: Final = 0.25  # per cent that can still be seen
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Something that took time.

    Args:
        start: Seconds since the run began.
        end: Seconds since the run began.
        css: Its class, a word of ours.
        title: What it was.
        waiting: Seconds at its beginning in which nothing came.
    """

    start: float
    end: float
    css: str
    title: str
    waiting: float = 0.0


def draw_timeline(fields: Mapping[str, Any]) -> list[Html]:
    """Draw it; nothing if no time is known.

    Args:
        fields: The result.
    """
    total = fields["timings"]["total"]
    if not 0 < total <= MOST:
        return []
    phases = find_phases(fields["timings"])
    end = fields["timings"]["worked"] or total
    lanes = [
        _draw_lane("Phases", [phases], total),
        _draw_lane("Steps", stack(_find_steps(fields["steps"], end)), total),
        _draw_lane("Tools", stack(_find_uses(fields["steps"], end)), total),
        _draw_lane("Model calls", stack(_find_calls(fields["model_calls"])), total),
        _draw_tokens(fields["model_calls"], total),
    ]
    axis = tag("div", "lane axis", span("name", ""), _draw_axis(total))
    chart = tag("div", "chart", axis, *(lane for lane in lanes if lane is not None))
    return [chart, _draw_legend(phases), *([tag("p", "key", _KEY)] if fields["model_calls"] else [])]


def find_phases(timings: Mapping[str, float | None]) -> list[Bar]:
    """What the time went into, from one moment that is known to the next.

    Args:
        timings: The result's.
    """
    bars: list[Bar] = []
    last = 0.0
    for name, css, title in _PHASES:
        at = timings.get(name)
        if at is not None and at >= last:
            bars.append(Bar(start=last, end=at, css=css, title=title))
            last = at
    return bars


def stack(bars: Iterable[Bar]) -> list[list[Bar]]:
    """Bars in tiers, so that those in one do not overlap; the last tier takes what has no place.

    Args:
        bars: In any order.
    """
    tiers: list[list[Bar]] = []
    for bar in sorted(bars, key=lambda bar: bar.start):
        free = next((tier for tier in tiers if tier[-1].end <= bar.start), None)
        if free is not None:
            free.append(bar)
        elif len(tiers) < _TIERS:
            tiers.append([bar])
        else:
            tiers[-1].append(bar)
    return tiers


def choose_ticks(total: float) -> list[float]:
    """Round moments between 0 and the end, in seconds, no more than can be read on a phone.

    Args:
        total: The end.
    """
    wide = next((tick for tick in _TICKS if total / tick <= _MOST_TICKS), total / _MOST_TICKS)
    return [round(index * wide, 3) for index in range(int(total / wide) + 1)]


def _find_steps(steps: Sequence[Mapping[str, Any]], end: float) -> list[Bar]:
    return [
        Bar(
            start=step["at"],
            end=end if step["seconds"] is None else step["at"] + step["seconds"],
            css="step" if step["seconds"] is not None else "open",
            title=f"Step {step['index'] + 1}: {format_seconds(step['seconds'])} {to_line(step['text'], 100)}",
        )
        for step in steps[:_BARS]
        if step["at"] is not None
    ]


def _find_uses(steps: Sequence[Mapping[str, Any]], end: float) -> list[Bar]:
    uses = [use for step in steps for use in step["uses"]]
    return [
        Bar(
            start=use["at"],
            end=end if use["seconds"] is None else use["at"] + use["seconds"],
            css={"completed": "tool", "error": "bad"}.get(use["status"] or "", "open"),
            title=f"{to_line(use['tool'], 50)}: {to_line(use['title'], 100)} {format_seconds(use['seconds'])}",
        )
        for use in uses[:_BARS]
    ]


def _find_calls(calls: Sequence[Mapping[str, Any]]) -> list[Bar]:
    return [
        Bar(
            start=call["at"],
            end=call["at"] + call["duration"],
            css="call" if call["status"] == _OK and not call["error"] else "bad",
            title=_tell_call(call),
            waiting=call["first_byte"] or 0.0,
        )
        for call in calls[:_BARS]
    ]


def _tell_call(call: Mapping[str, Any]) -> str:
    tokens = f"{call['prompt_tokens']:,} tokens in, {call['completion_tokens']:,} out"
    return f"Model call {call['index'] + 1}: {format_seconds(call['duration'])}, {tokens}"


def _draw_lane(name: str, tiers: Sequence[Sequence[Bar]], total: float) -> Html | None:
    if not tiers:
        return None
    drawn = [_draw_bar(bar, total, y=_GAP + tier * (_HEIGHT + _GAP)) for tier, bars in enumerate(tiers) for bar in bars]
    height = _GAP + len(tiers) * (_HEIGHT + _GAP)
    return _lane(name, height, [*_draw_grid(total), *drawn])


def _draw_bar(bar: Bar, total: float, *, y: int) -> Html:
    left, right = _place(bar.start, total), _place(bar.end, total)
    title = tag("title", "", bar.title)
    whole = _rect(bar.css, left, right - left, y, _HEIGHT, title)
    waited = _place(bar.start + bar.waiting, total) - left
    if waited < _THIN:
        return whole
    return Html(whole + _rect("wait", left, min(waited, right - left), y, _HEIGHT, title))


def _draw_tokens(calls: Sequence[Mapping[str, Any]], total: float) -> Html | None:
    counts = [(max(0, call["prompt_tokens"]), max(0, call["completion_tokens"])) for call in calls[:_BARS]]
    most = max((read + wrote for read, wrote in counts), default=0)
    if most <= 0:
        return None
    drawn = []
    for call, (read, wrote) in zip(calls, counts, strict=False):
        left, right = _place(call["at"], total), _place(call["at"] + call["duration"], total)
        title = tag("title", "", _tell_call(call))
        low = 0
        for css, tokens in (("in", read), ("out", wrote)):
            tall = max(2, round(_TALL * tokens / most)) if tokens else 0
            drawn.append(_rect(css, left, right - left, _GAP + _TALL - low - tall, tall, title))
            low += tall
    return _lane("Tokens", _TALL + 2 * _GAP, [*_draw_grid(total), *drawn], f"up to {most:,}")


def _draw_axis(total: float) -> Html:
    labels = []
    for tick in choose_ticks(total):
        at = _place(tick, total)
        anchor = "start" if not tick else "middle"
        if at <= _LAST_TICK:
            labels.append(tag("text", "", format_moment(tick), x=f"{at:.2f}%", y="12", text_anchor=anchor))
    return tag("svg", "", *labels, width="100%", height="16", aria_hidden="true")


def _draw_grid(total: float) -> list[Html]:
    places = [f"{_place(tick, total):.2f}%" for tick in choose_ticks(total)]
    return [tag("line", "", x1=place, x2=place, y1="0", y2="100%") for place in places]


def _draw_legend(phases: Sequence[Bar]) -> Html:
    items = [
        tag(
            "div",
            "",
            tag("dt", "", span(f"dot {bar.css}", ""), bar.title),
            tag("dd", "", format_seconds(bar.end - bar.start)),
        )
        for bar in phases
    ]
    return tag("dl", "legend", *items)


def _lane(name: str, height: int, drawn: Sequence[Html], more: str = "") -> Html:
    about = [span("about", more)] if more else []
    svg = tag("svg", "", *drawn, width="100%", height=str(height), role="img", aria_label=name)
    return tag("div", "lane", tag("div", "name", span("", name), *about), svg)


def _rect(css: str, left: float, wide: float, y: int, tall: int, title: Html) -> Html:
    # Kept inside, or the last bar of a run would be too thin to be seen.
    wide = max(wide, _THIN)
    left = min(left, 100 - wide)
    return tag("rect", css, title, x=f"{left:.2f}%", y=str(y), width=f"{wide:.2f}%", height=str(tall), rx="2")


def _place(at: float, total: float) -> float:
    """Per cent from the left; whatever a clock said, it stays inside."""
    return max(0.0, min(100.0, 100 * at / total))
