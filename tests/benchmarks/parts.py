"""What can be measured: pairs, each ours against one baseline, and the parts that a book has beside them."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import big_transfer
import cold_task
import compose_task
import gateway
import memory
import seed_task
import startup
from board import bursts, rounds, sustained, throughput
from book import record_growth, record_row

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pairs import Row, Setup

PAIRS: dict[str, Callable[[Setup], Row]] = {
    "start": startup.measure,
    "gateway": gateway.measure,
    "in-1k": partial(big_transfer.measure_in, files=1000),
    "out-1k": partial(big_transfer.measure_out, files=1000),
    "in-20k": partial(big_transfer.measure_in, files=20_000),
    "out-20k": partial(big_transfer.measure_out, files=20_000),
    "cold-task": cold_task.measure,
    "seed": seed_task.measure,
    "compose": compose_task.measure,
}
MEMORY = "memory"
BOARD: dict[str, Callable[[Setup], dict[str, Any]]] = {"board": rounds.measure, "bursts": bursts.measure}
SUSTAINED = "sustained"
THROUGHPUT = "throughput"
USUAL = [*PAIRS, MEMORY, *BOARD]  # the others take long, and have to be asked for
ALL = [*USUAL, SUSTAINED, THROUGHPUT]


def measure(chosen: Collection[str], setup: Setup, *, tasks: int, every: float) -> dict[str, Any]:
    """Measure what was chosen, part by part as a book has them.

    Args:
        chosen: Names of `ALL`.
        setup: For all of them.
        tasks: How many tasks the sustained part has.
        every: Seconds between two of those.
    """
    parts: dict[str, Any] = {}
    if pairs := [name for name in PAIRS if name in chosen]:
        parts["pairs"] = {**_note(), "rows": [_measure_pair(name, setup) for name in pairs]}
    if MEMORY in chosen:
        sys.stderr.write(f"{MEMORY}: measuring\n")
        parts[MEMORY] = {**_note(), "rows": [record_growth(growth) for growth in memory.measure(setup)]}
    others: dict[str, Callable[[Setup], dict[str, Any]]] = BOARD | {
        SUSTAINED: partial(sustained.measure, tasks=tasks, every=every),
        THROUGHPUT: throughput.measure,
    }
    for name, run in others.items():
        if name in chosen:
            sys.stderr.write(f"{name}: measuring\n")
            parts[name] = {**_note(), **run(setup)}
    return parts


def _measure_pair(name: str, setup: Setup) -> dict[str, Any]:
    sys.stderr.write(f"{name}: measuring\n")
    row = PAIRS[name](setup)
    sys.stderr.write(f"{name}: {row.ours.median:.4f} s against {row.baseline.median:.4f} s\n")
    return record_row(row)


def _note() -> dict[str, Any]:
    """When it was, and what else the machine did just before, which slows everybody."""
    return {"date": f"{datetime.now(tz=UTC):%Y-%m-%d}", "load": round(os.getloadavg()[0], 1)}
