"""The leaderboard's parts as Markdown."""

from __future__ import annotations

from typing import Any

_BOARD_HEAD = (
    "| contestant | n | median | p95 | p99 | min-max | CPU | peak memory | from a spare | to the {base} |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)
_BURSTS_HEAD = "| pattern | contestant | n | median | p95 | max | from a spare |\n|---|---|---|---|---|---|---|\n"
_SUSTAINED_HEAD = "| contestant | n | median | p95 | p99 | min-max | from a spare |\n|---|---|---|---|---|---|---|\n"
_GOALS = "| what | ratio | goal |\n|---|---|---|\n"
_POINTS_HEAD = (
    "| contestant | at once | tasks | tasks a minute | median | p95 | CPU for each | memory of all |\n"
    "|---|---|---|---|---|---|---|---|\n"
)

_NO_MORE_THAN = [
    ("median", "ours, pooled, to the hot prompt: median", 1.3),
    ("p95", "ours, pooled, to the hot prompt: p95", 2.0),
]
_SEED_GOAL = 12.0

_ONLY_CONTAINERS = "Only a container that answers, in which OpenCode would still have to boot:\n"
_NOTHING = "—"


def render_board(part: dict[str, Any]) -> str:
    """Two tables: those who do the whole task, and those who only make a container."""
    described = "".join(f"- **{row['name']}**: {row['what']}\n" for row in part["rows"])
    tasks = _render_contestants(part, "task", base="hot prompt")
    containers = _render_contestants(part, "container", base="bare one")
    return "\n".join([tasks, _ONLY_CONTAINERS, containers, described, render_end(part)])


def render_bursts(part: dict[str, Any]) -> str:
    """One line for each pattern and contestant."""
    lines = [
        _line(
            row["pattern"], row["name"], row["n"], *map(_seconds, (row["median"], row["p95"], row["max"])), _hits(row)
        )
        for row in part["rows"]
    ]
    return f"{_BURSTS_HEAD}{''.join(lines)}\n{render_end(part)}"


def render_sustained(part: dict[str, Any]) -> str:
    """The figures, the ratios with their goals, and what the pool does when nobody waits for it."""
    if not part["rows"]:
        return render_end(part)
    lines = [
        _line(row["name"], row["n"], *map(_seconds, (row["median"], row["p95"], row["p99"])), _spread(row), _hits(row))
        for row in part["rows"]
    ]
    ratios = part["ratios"]
    goals = [
        _line(what, f"{ratios[name]:.2f}", f"≤ {goal:g} x: {_verdict(met=ratios[name] <= goal)}")
        for name, what, goal in _NO_MORE_THAN
    ]
    seed_met = _verdict(met=ratios["seed"] >= _SEED_GOAL)
    goals.append(_line("seed to ours, pooled: median", f"{ratios['seed']:.1f}", f"≥ {_SEED_GOAL:g} x: {seed_met}"))
    refill = part["refill"]
    return (
        f"{_SUSTAINED_HEAD}{''.join(lines)}\n{_GOALS}{''.join(goals)}\n"
        f"One task right after the other, with the refill: {refill['per_minute']:g} tasks a minute, "
        f"{_hits(refill)} of them from a spare, {_seconds(refill['median'])} at the median.\n\n"
        f"{part['failed']} tasks failed; {part['late']} began more than half a second late.\n\n{render_end(part)}"
    )


def render_points(part: dict[str, Any]) -> str:
    """The throughput curve's points, one line for each."""
    lines = [
        _line(
            point["name"],
            point["concurrency"],
            point["n"],
            f"{point['per_minute']:g}",
            *map(_seconds, (point["median"], point["p95"], point["work"])),
            _mebibytes(point["memory"]),
        )
        for point in part["points"]
    ]
    return f"{_POINTS_HEAD}{''.join(lines)}"


def render_end(part: dict[str, Any]) -> str:
    """What was left on the engine, and who was not there."""
    left = ", ".join(f"{count} {what}" for what, count in part["leftovers"].items())
    missing = "".join(f" Left out: {name}, since {reason}." for name, reason in part["missing"].items())
    return f"Left on the engine afterwards: {left}.{missing}\n"


def _render_contestants(part: dict[str, Any], kind: str, *, base: str) -> str:
    lines = [_render_contestant(row) for row in part["rows"] if row["part"] == kind]
    return f"{_BOARD_HEAD.format(base=base)}{''.join(lines)}"


def _render_contestant(row: dict[str, Any]) -> str:
    ratio = _NOTHING if row["ratio"] is None else f"{row['ratio']:.2f}"
    figures = [*map(_seconds, (row["median"], row["p95"], row["p99"])), _spread(row), _seconds(row["work"])]
    return _line(row["name"], row["n"], *figures, _mebibytes(row["memory"]), _hits(row), ratio)


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |\n"


def _seconds(figure: float | None) -> str:
    return _NOTHING if figure is None else f"{figure:.2f} s"


def _mebibytes(figure: int | None) -> str:
    return _NOTHING if figure is None else f"{figure} MiB"


def _spread(row: dict[str, Any]) -> str:
    return f"{row['min']:.2f}-{row['max']:.2f} s"


def _hits(row: dict[str, Any]) -> str:
    return f"{row['hits']} of {row['n']}" if "hits" in row else _NOTHING


def _verdict(*, met: bool) -> str:
    return "met" if met else "missed"
