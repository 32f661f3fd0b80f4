"""The pairs and the memory as Markdown, from what is kept of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = (
    "| what | n | ours: median | p95 | min-max | baseline: median | p95 | min-max | ratio of medians | goal |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)

_MEMORY = """\
What the process on the host grows by, above what it is when a small workspace has made the whole way, while a
workspace with one file of random bytes goes into a running container (reading it, sending it), and while the changed
file comes out again and becomes a patch. What `git` needs meanwhile is its own: the largest process that was started
had at most the size in the last column but one. Measured once, in a process of its own.

| what | file | process before | grown | largest child | goal |
|---|---|---|---|---|---|
"""


def render_table(rows: Sequence[dict[str, Any]]) -> str:
    """The pairs' figures, one line for each."""
    return _HEAD + "".join(map(_render_row, rows))


def render_memory(growths: Sequence[dict[str, Any]]) -> str:
    """What the host process grows by."""
    return _MEMORY + "".join(map(_render_growth, growths))


def _render_row(row: dict[str, Any]) -> str:
    cells = [
        row["name"],
        str(row["ours"]["n"]),
        *_render_samples(row["ours"], row["unit"]),
        *_render_samples(row["baseline"], row["unit"]),
        f"{row['ratio']:.2f}",
        row["goal"],
    ]
    return f"| {' | '.join(cells)} |\n"


def _render_growth(growth: dict[str, Any]) -> str:
    sizes = " | ".join(f"{growth[name]} MiB" for name in ("size", "before", "grown", "child"))
    return f"| {growth['name']} | {sizes} | {growth['goal']} |\n"


def _render_samples(samples: dict[str, Any], unit: str) -> tuple[str, str, str]:
    scale, digits = (1000, 1) if unit == "ms" else (1, 2)

    def number(seconds: float) -> str:
        return f"{seconds * scale:.{digits}f}"

    spread = f"{number(samples['min'])}-{number(samples['max'])} {unit}"
    return f"{number(samples['median'])} {unit}", f"{number(samples['p95'])} {unit}", spread
