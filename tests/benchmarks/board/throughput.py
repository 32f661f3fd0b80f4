"""How many tasks a minute the machine does, against how many there are at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from board.arena import open_all, open_arena
from board.crowd import run_workers
from board.figures import summarize
from board.leftovers import Inventory
from board.ours import COLD, POOLED, SESSION
from board.plan import CONCURRENCY, count_tasks
from board.watching import MemoryWatch, read_work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from board.arena import Ready
    from board.contestant import Contestant
    from pairs import Setup


def measure(
    setup: Setup,
    concurrency: Sequence[int] = CONCURRENCY,
    contestants: Sequence[Contestant] = (COLD, POOLED, SESSION),
) -> dict[str, Any]:
    """Measure the part `throughput`. One contestant at a time: another one's idle containers would count as memory."""
    inventory = Inventory()
    points: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for workers in concurrency:
        for contestant in contestants:
            with (
                open_arena(setup.image, lanes=workers) as arena,
                MemoryWatch() as watch,
                open_all(arena, [contestant]) as (entered, not_here),
            ):
                missing |= not_here
                figures = [_measure_point(ready, workers) for ready in entered.values()]
            points += [
                {"name": contestant.name, "concurrency": workers, **point, "memory": watch.together}
                for point in figures
            ]
    return {"points": points, "missing": missing, "leftovers": inventory.count_new()}


def _measure_point(ready: Ready, workers: int) -> dict[str, Any]:
    tasks = count_tasks(workers)
    began = read_work()
    took, attempts = run_workers(ready.entrant, workers=workers, tasks=tasks)
    ended = read_work()
    work = None if began is None or ended is None else round((ended - began) / tasks, 2)
    return {**summarize(attempts), "per_minute": round(60 * tasks / took, 1), "work": work}
