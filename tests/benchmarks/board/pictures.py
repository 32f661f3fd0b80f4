"""The pictures of the documentation, from what is kept of the leaderboard and of the throughput."""

from __future__ import annotations

from typing import Any

from board.drawing import COLOURS, bar, card, curve, rule, text

_OURS = "ours"
_WIDTH = 720
_LEFT, _RIGHT = 170, 110
_ROW, _TOP, _BOTTOM = 28, 44, 16
_CURVES_HEIGHT, _CURVES_LEFT, _CURVES_RIGHT, _CURVES_TOP, _CURVES_BOTTOM = 340, 60, 160, 60, 300
_TICKS = 4


def draw_all(parts: dict[str, Any]) -> dict[str, str]:
    """The pictures that there are figures for, by the names of their files."""
    pictures = {}
    if "board" in parts:
        pictures["benchmark-tasks.svg"] = draw_board(parts["board"]["rows"])
    if parts.get("throughput", {}).get("points"):
        pictures["benchmark-throughput.svg"] = draw_throughput(parts["throughput"]["points"])
    return pictures


def draw_board(rows: list[dict[str, Any]]) -> str:
    """The median of each contestant that does the whole task, the fastest first."""
    tasks = sorted((row for row in rows if row["part"] == "task"), key=lambda row: row["median"])
    longest = max((row["median"] for row in tasks), default=1.0)
    parts = []
    for index, row in enumerate(tasks):
        y = _TOP + index * _ROW
        length = (_WIDTH - _LEFT - _RIGHT) * row["median"] / longest
        colour = COLOURS[2] if row["name"].startswith(_OURS) else COLOURS[1]
        parts += [
            text(_LEFT - 10, y + 14, row["name"], anchor="end"),
            bar(_LEFT, y, width=length, height=_ROW - 10, colour=colour),
            text(_LEFT + length + 8, y + 14, f"{row['median']:.2f} s", kind="quiet"),
        ]
    height = _TOP + len(tasks) * _ROW + _BOTTOM
    return card(width=_WIDTH, height=height, title="One task, seconds at the median", parts=parts)


def draw_throughput(points: list[dict[str, Any]]) -> str:
    """Tasks a minute against how many there are at once, which doubles from step to step."""
    steps = sorted({point["concurrency"] for point in points})
    most = _round_up(max(point["per_minute"] for point in points))
    right = _WIDTH - _CURVES_RIGHT
    parts = []
    for tick in range(_TICKS + 1):
        y = _place(tick / _TICKS)
        label = text(_CURVES_LEFT - 10, y + 4, f"{most * tick / _TICKS:g}", anchor="end", kind="quiet")
        parts += [rule(left=_CURVES_LEFT, right=right, y=y), label]
    apart = (right - _CURVES_LEFT) / max(1, len(steps) - 1)
    across = {step: _CURVES_LEFT + index * apart for index, step in enumerate(steps)}
    parts += [text(x, _CURVES_BOTTOM + 22, f"{step}", anchor="middle", kind="quiet") for step, x in across.items()]
    for index, name in enumerate(dict.fromkeys(point["name"] for point in points)):
        places = [
            (across[point["concurrency"]], _place(point["per_minute"] / most))
            for point in points
            if point["name"] == name
        ]
        colour, y = COLOURS[index % len(COLOURS)], _CURVES_TOP + 20 + index * 24
        parts += [curve(places, colour), bar(right + 24, y - 10, width=12, height=12, colour=colour)]
        parts.append(text(right + 44, y, name))
    title = "Tasks a minute, by the number of tasks at once"
    return card(width=_WIDTH, height=_CURVES_HEIGHT, title=title, parts=parts)


def _place(share: float) -> float:
    return round(_CURVES_BOTTOM - share * (_CURVES_BOTTOM - _CURVES_TOP), 1)


def _round_up(figure: float) -> int:
    """The next number that can be divided into ticks."""
    step = _TICKS * (10 if figure > 100 else 5)
    return int(-(-figure // step) * step) or step
