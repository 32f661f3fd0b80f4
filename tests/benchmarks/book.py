"""The figures as they are kept: `docs/benchmarks.json`, from which the page and the pictures are made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from memory import Growth
    from pairs import Row, Samples

Book = dict[str, Any]
"""`machine`, facts by name, and `parts`: each as its benchmark gave it, with its date and the load before it."""

_DIGITS = 6


def record_row(row: Row) -> dict[str, Any]:
    """A pair of samples as it is kept."""
    return {
        "name": row.name,
        "ours": _record_samples(row.ours),
        "baseline": _record_samples(row.baseline),
        "ratio": round(row.ratio, 4),
        "unit": row.unit,
        "goal": row.goal,
        "what": row.what,
    }


def record_growth(growth: Growth) -> dict[str, Any]:
    """A growth of memory as it is kept; MiB."""
    return {
        "name": growth.name,
        "size": growth.size,
        "before": growth.before,
        "grown": growth.grown,
        "child": growth.child,
        "goal": growth.goal,
    }


def read_book(path: Path) -> Book:
    """What was kept so far; nothing where there is no file."""
    if not path.exists():
        return {"machine": {}, "parts": {}}
    book: Book = json.loads(path.read_text(encoding="utf-8"))
    return book


def write_book(path: Path, book: Book) -> None:
    """Keep it; a file that people can compare line by line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def merge(book: Book, machine: Mapping[str, str], parts: Mapping[str, Any]) -> Book:
    """Put new parts in the old ones' places. Of another machine nothing is kept: one page tells of one machine."""
    kept = book["parts"] if book["machine"] == machine else {}
    return {"machine": dict(machine), "parts": {**kept, **parts}}


def _record_samples(samples: Samples) -> dict[str, Any]:
    figures = {
        "median": samples.median,
        "p95": samples.p95,
        "min": min(samples.seconds),
        "max": max(samples.seconds),
    }
    return {"n": len(samples.seconds), **{name: round(seconds, _DIGITS) for name, seconds in figures.items()}}
