"""Rows as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memory import Growth
    from pairs import Row, Samples

_HEAD = (
    "| what | n | ours: median | p95 | min-max | baseline: median | p95 | min-max | ratio of medians | goal |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)

_MEMORY = """\
## Memory

What the process on the host grows by, above what it is when a small workspace has made the whole way, while a
workspace with one file of random bytes goes into a running container (reading it, sending it), and while the changed
file comes out again and becomes a patch. What `git` needs meanwhile is its own: the largest process that was started
had at most the size in the last column but one. Measured once, in a process of its own.

| what | file | process before | grown | largest child | goal |
|---|---|---|---|---|---|
"""

_NOT_MEASURED = """\
Runs side by side, repositories of more than 20,000 files, real models, a remote engine, an engine other than the one
below, macOS. A model's own time is zero here, so what is told is overhead: with a real model it is a smaller share of
the whole.
"""


def render_table(rows: Sequence[Row]) -> str:
    """The figures, one line for each benchmark."""
    return _HEAD + "".join(map(_render_row, rows))


def render_memory(growths: Sequence[Growth]) -> str:
    """The section about memory; empty where none was measured."""
    return _MEMORY + "".join(map(_render_growth, growths)) if growths else ""


def render_page(rows: Sequence[Row], growths: Sequence[Growth], machine: Mapping[str, str]) -> str:
    """The whole page: table, what was measured, what was not, and where."""
    measured = "\n".join(f"- **{row.name}**: {row.what}" for row in rows)
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    memory = f"{render_memory(growths)}\n" if growths else ""
    return f"""\
# Benchmarks

Written by `make bench ARGS="--write docs/benchmarks.md"`. Only ratios are claimed. Ours and the baseline were
measured in turns, in one run on one machine; the first pair, a warm-up, was dropped. p95 is interpolated, and with
few figures nearly the maximum.

{render_table(rows)}
## What was measured

{measured}

{memory}## What was not

{_NOT_MEASURED}
## The machine

{facts}
"""


def _render_row(row: Row) -> str:
    cells = [
        row.name,
        str(len(row.ours.seconds)),
        *_render_samples(row.ours, row.unit),
        *_render_samples(row.baseline, row.unit),
        f"{row.ratio:.2f}",
        row.goal,
    ]
    return f"| {' | '.join(cells)} |\n"


def _render_growth(growth: Growth) -> str:
    sizes = (growth.size, growth.before, growth.grown, growth.child)
    return f"| {growth.name} | {' | '.join(f'{size} MiB' for size in sizes)} | {growth.goal} |\n"


def _render_samples(samples: Samples, unit: str) -> tuple[str, str, str]:
    scale, digits = (1000, 1) if unit == "ms" else (1, 2)

    def number(seconds: float) -> str:
        return f"{seconds * scale:.{digits}f}"

    spread = f"{number(min(samples.seconds))}-{number(max(samples.seconds))} {unit}"
    return f"{number(samples.median)} {unit}", f"{number(samples.p95)} {unit}", spread
