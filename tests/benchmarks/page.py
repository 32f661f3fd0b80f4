"""The pages that figures are on: all of docs/benchmarks.md, and what docs/performance.md says of throughput."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from board.pictures import draw_all
from board.tables import render_board, render_bursts, render_end, render_points, render_sustained
from table import render_memory, render_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from book import Book

_HEAD = """\
# Benchmarks

Written by `make bench ARGS="--write"`, from the figures in [benchmarks.json](benchmarks.json). Only ratios are claimed.
What is compared was measured in turns, in one run on one machine; the first turns, a warm-up, were dropped. p95 and p99
are interpolated, and with few figures nearly the maximum.
"""

_NOT_MEASURED = """\
## What was not

Repositories of more than 20,000 files, real models, a remote engine, an engine other than the one below, macOS. A
model's own time is zero here, so what is told is overhead: with a real model it is a smaller share of the whole.
"""

_BOARD = """\
The task of the row `cold task`, one at a time, in turns; each round begins with another contestant. *CPU* is what all
cores of the machine worked from a task's start until the contestant was as ready as before it, whoever they worked for.
*Peak memory* is the largest container's, the pages that it was the first to read included; it was watched in a round
of its own, which is not timed. The model server is a process of its own.

"""
_BURSTS = """\
Tasks that come while others are being done. In a burst, all start at once, and each one's time counts from there.

"""
_SUSTAINED = """\
A pool of two, and a task every {every:g} s. Four fifths of that time after each, the hot prompt has its turn; now and
then, in an interval of its own, the seed.

"""
_THROUGHPUT = """\
So many tasks at a time, each taken up when its worker is free; the clock stops when the contestant is as ready as it
was, a pool full again. *CPU* is what all cores of the machine worked in that time, for each task. *Memory* is the most
that all containers had at one moment, the waiting ones included.

"""
_CURVE = "![Tasks a minute against the number of tasks at once](pictures/benchmark-throughput.svg)\n\n"

_MARKS = ("<!-- throughput -->\n", "<!-- /throughput -->")


def render_page(book: Book) -> str:
    """The whole page: what there are figures for, what was not measured, and where."""
    sections = [
        f"## {title}\n\n{_render_date(part)}\n\n{render(part)}"
        for name, title, render in _SECTIONS
        if (part := book["parts"].get(name)) is not None
    ]
    facts = "\n".join(f"- {name}: {value}" for name, value in book["machine"].items())
    return "\n".join([_HEAD, *sections, _NOT_MEASURED, f"## The machine\n\n{facts}\n"])


def render_throughput(parts: dict[str, Any]) -> str:
    """What the page about performance has between its marks."""
    part = parts.get("throughput")
    if not part or not part["points"]:
        return "Not measured yet.\n"
    return f"{_CURVE}{render_points(part)}\nHow that was measured: [Throughput](benchmarks.md#throughput).\n"


def put_throughput(page: str, parts: dict[str, Any]) -> str:
    """The page about performance, with what there is now between its marks."""
    first, last = _MARKS
    before, _, rest = page.partition(first)
    return f"{before}{first}{render_throughput(parts)}{last}{rest.partition(last)[2]}"


def write_pages(book: Book, docs: Path) -> None:
    """Write both pages and the pictures into the folder of the documentation."""
    (docs / "benchmarks.md").write_text(render_page(book), encoding="utf-8")
    performance = docs / "performance.md"
    performance.write_text(put_throughput(performance.read_text(encoding="utf-8"), book["parts"]), encoding="utf-8")
    for name, picture in draw_all(book["parts"]).items():
        (docs / "pictures" / name).write_text(picture, encoding="utf-8")


def _render_date(part: dict[str, Any]) -> str:
    return f"Measured on {part['date']}; load before it: {part['load']:.1f}."


def _render_pairs(part: dict[str, Any]) -> str:
    measured = "".join(f"- **{row['name']}**: {row['what']}\n" for row in part["rows"])
    return f"{render_table(part['rows'])}\n{measured}"


def _render_board(part: dict[str, Any]) -> str:
    return f"{_BOARD}![One task, seconds at the median](pictures/benchmark-tasks.svg)\n\n{render_board(part)}"


def _render_sustained(part: dict[str, Any]) -> str:
    return f"{_SUSTAINED.format(every=part['every'])}{render_sustained(part)}"


def _render_throughput(part: dict[str, Any]) -> str:
    points = f"{_CURVE}{render_points(part)}\n" if part["points"] else ""
    return f"{_THROUGHPUT}{points}{render_end(part)}"


_SECTIONS: list[tuple[str, str, Callable[[dict[str, Any]], str]]] = [
    ("pairs", "Piece by piece", _render_pairs),
    ("memory", "Memory", lambda part: render_memory(part["rows"])),
    ("board", "One task, many ways", _render_board),
    ("bursts", "Tasks close behind one another", lambda part: f"{_BURSTS}{render_bursts(part)}"),
    ("sustained", "A pool over a long time", _render_sustained),
    ("throughput", "Throughput", _render_throughput),
]
