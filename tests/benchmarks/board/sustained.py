"""A pool that is asked for a task every few seconds for a long time, against the hot prompt in between."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from board.arena import open_all, open_arena
from board.arrangements import SEED
from board.figures import find_ratio, summarize
from board.leftovers import Inventory
from board.ours import POOLED
from board.plan import plan_sustained
from board.shared_server import HOT
from pairs import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from board.arena import Ready
    from board.contestant import Attempt
    from board.plan import Step
    from pairs import Setup

TASKS = 200
EVERY = 10.0
_LATE = 0.5  # seconds
_SEED_EACH = 20
_TELL_EACH = 50
_LEAST_SEEDS = 3
_REFILL_SECONDS = 60.0
_REFILL = "refill"
_CONTESTANTS = [POOLED, HOT, SEED]


def measure(setup: Setup, *, tasks: int = TASKS, every: float = EVERY) -> dict[str, Any]:
    """Measure the part `sustained`; a first task of each does not count.

    Args:
        setup: As for every part; its number of runs is not used.
        tasks: How many tasks the pool is given.
        every: Seconds between two of them.
    """
    inventory = Inventory()
    names = {"ours": POOLED.name, "hot": HOT.name, "seldom": SEED.name}
    steps = plan_sustained(
        tasks=tasks, every=every, seldom_each=min(_SEED_EACH, max(1, tasks // _LEAST_SEEDS)), **names
    )
    with open_arena(setup.image) as arena, open_all(arena, _CONTESTANTS) as (entered, missing):
        if missing:
            return {"every": every, "rows": [], "missing": missing, "leftovers": inventory.count_new()}
        for ready in entered.values():
            _ask(ready)
            ready.entrant.settle()
        log = follow(steps, entered)
        rows = [{"name": name, **summarize(attempts)} for name, attempts in log.done.items()]
        refill = _measure_refill(log, entered[POOLED.name])
    return {
        "every": every,
        "failed": log.failed,
        "late": log.late,
        "rows": rows,
        "ratios": compare({row["name"]: row for row in rows}),
        "refill": refill,
        "missing": missing,
        "leftovers": inventory.count_new(),
    }


@dataclass(slots=True)
class Log:
    """What came of a plan: the tasks that were done, how many were not, and how many steps began late."""

    done: dict[str, list[Attempt]]
    failed: int = 0
    late: int = 0

    def take(self, name: str, ready: Ready) -> None:
        """Have one task done. One that fails is told and counted; the others are worth having."""
        try:
            self.done[name].append(_ask(ready))
        except BenchmarkError as error:
            self.failed += 1
            sys.stderr.write(f"sustained: {error}\n")


def follow(steps: Sequence[Step], entered: Mapping[str, Ready]) -> Log:
    """Ask everybody when it is their turn.

    Raises:
        BenchmarkError: If there is somebody all of whose tasks failed.
    """
    log = Log({name: [] for name in entered})
    began = time.monotonic()
    for number, step in enumerate(steps, 1):
        time.sleep(max(0.0, began + step.at - time.monotonic()))
        log.late += time.monotonic() - began - step.at > _LATE
        log.take(step.name, entered[step.name])
        if number % _TELL_EACH == 0:
            sys.stderr.write(f"sustained: {number} of {len(steps)}\n")
    if not all(log.done.values()):
        msg = "Of at least one contestant all tasks failed; what was said is above."
        raise BenchmarkError(msg)
    return log


def compare(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The ratios that there are goals for: ours to the hot prompt, and the seed to ours."""
    ours, hot, seed = (rows[contestant.name] for contestant in _CONTESTANTS)
    return {
        "median": find_ratio(ours["median"], hot["median"]),
        "p95": find_ratio(ours["p95"], hot["p95"]),
        "seed": find_ratio(seed["median"], ours["median"]),
    }


def _ask(ready: Ready) -> Attempt:
    ready.entrant.prepare(0)
    return ready.entrant.attempt(0)


def _measure_refill(log: Log, ready: Ready) -> dict[str, Any]:
    """Tasks one right after the other. The clock stops when the pool is full again, as it was at first."""
    ready.entrant.settle()
    began = time.monotonic()
    attempts = log.done.setdefault(_REFILL, [])
    while time.monotonic() - began < _REFILL_SECONDS:
        log.take(_REFILL, ready)
    ready.entrant.settle()
    took = time.monotonic() - began
    return {"per_minute": round(60 * len(attempts) / took, 1), **summarize(attempts)}
