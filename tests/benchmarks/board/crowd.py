"""Several tasks at once, each in a thread and a lane of its own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from board.contestant import Attempt

if TYPE_CHECKING:
    from board.contestant import Entrant
    from board.plan import Pattern


def run_wave(entrant: Entrant, pattern: Pattern) -> list[Attempt]:
    """Have a pattern's tasks done once; afterwards the contestant is at rest again."""
    lanes = range(len(pattern.starts))
    for lane in lanes:
        entrant.prepare(lane)
    with ThreadPoolExecutor(len(lanes)) as threads:
        first = time.perf_counter()

        def start(lane: int) -> Attempt:
            time.sleep(max(0.0, first + pattern.starts[lane] - time.perf_counter()))
            late = time.perf_counter() - first if pattern.from_first else 0.0
            attempt = entrant.attempt(lane)
            return Attempt(late + attempt.seconds, attempt.from_spare)

        attempts = list(threads.map(start, lanes))
    entrant.settle()
    return attempts


def run_workers(entrant: Entrant, *, workers: int, tasks: int) -> tuple[float, list[Attempt]]:
    """Have so many tasks done by so many at a time; the seconds for all of them, and each one's.

    A worker makes its lane ready for the next task while the clock runs, as it would in earnest, and the clock stops
    when the contestant is as ready as it was: what a pool had ready at first is no gain.
    """
    for lane in range(workers):
        entrant.prepare(lane)

    def work(lane: int) -> list[Attempt]:
        done = []
        for number in range(lane, tasks, workers):
            if number >= workers:
                entrant.prepare(lane)
            done.append(entrant.attempt(lane))
        return done

    with ThreadPoolExecutor(workers) as threads:
        began = time.perf_counter()
        done = list(threads.map(work, range(workers)))
        entrant.settle()
        took = time.perf_counter() - began
    return took, [attempt for attempts in done for attempt in attempts]
