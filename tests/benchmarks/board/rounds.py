"""The leaderboard: everybody in turns, one task at a time."""

from __future__ import annotations

import statistics
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from board.arena import Ready, open_all, open_arena
from board.containers import BARE
from board.figures import find_ratio, summarize
from board.leftovers import Inventory
from board.plan import order_round
from board.roster import ALL
from board.shared_server import HOT
from board.watching import MemoryWatch, find_containers, read_work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from board.contestant import Attempt, Contestant
    from pairs import Setup


def measure(setup: Setup, contestants: Sequence[Contestant] = ALL) -> dict[str, Any]:
    """Measure the part `board`: one round to warm up, those that count, and one in which memory is watched."""
    inventory = Inventory()
    with ExitStack() as stack:
        arena = stack.enter_context(open_arena(setup.image))
        entered, missing = stack.enter_context(open_all(arena, contestants))
        scores = {name: _Score(ready) for name, ready in entered.items()}
        for number in range(setup.runs + 2):
            sys.stderr.write(f"board: round {number + 1} of {setup.runs + 2}\n")
            for name in order_round(list(scores), number):
                scores[name].take_turn(counts=0 < number <= setup.runs, watched=number > setup.runs)
    rows = [
        {"name": contestant.name, "part": contestant.part, "what": contestant.what, **scores[contestant.name].tell()}
        for contestant in contestants
        if contestant.name in scores
    ]
    return {"rows": _compare(rows), "missing": missing, "leftovers": inventory.count_new()}


@dataclass(slots=True)
class _Score:
    """A contestant's turns."""

    ready: Ready
    attempts: list[Attempt] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    memory: int | None = None

    def take_turn(self, *, counts: bool, watched: bool) -> None:
        """Have one task done. Whoever watches works too, so that a watched turn does not count."""
        entrant = self.ready.entrant
        entrant.prepare(0)
        there = set(find_containers())
        began = read_work()
        with ExitStack() as stack:
            watch = stack.enter_context(MemoryWatch(self.ready.containers)) if watched else None
            attempt = entrant.attempt(0)
            entrant.settle()
        ended = read_work()
        # One that is there now came in this turn: nobody else had one.
        self.ready.containers.update(set(find_containers()) - there)
        if counts:
            self.attempts.append(attempt)
            if began is not None and ended is not None:
                self.work.append(ended - began)
        if watch is not None:
            self.memory = watch.largest

    def tell(self) -> dict[str, Any]:
        work = round(statistics.median(self.work), 2) if self.work else None
        return {**summarize(self.attempts), "work": work, "memory": self.memory}


def _compare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put its ratio to each: of a whole task to the hot prompt, of a mere container to the bare one."""
    medians = {row["name"]: row["median"] for row in rows}
    bases = {"task": medians.get(HOT.name), "container": medians.get(BARE.name)}
    return [row | {"ratio": (base := bases[row["part"]]) and find_ratio(row["median"], base)} for row in rows]
