"""How tasks fare that come close behind one another, or all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from board.arena import open_all, open_arena
from board.crowd import run_wave
from board.figures import summarize
from board.leftovers import Inventory
from board.ours import COLD, POOLED
from board.plan import PATTERNS
from board.shared_server import HOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from board.contestant import Attempt
    from board.plan import Pattern
    from pairs import Setup

_CONTESTANTS = [HOT, COLD, POOLED]


def measure(setup: Setup, patterns: Sequence[Pattern] = PATTERNS) -> dict[str, Any]:
    """Measure the part `bursts`: pattern by pattern, its waves in turns; a first task of each does not count."""
    inventory = Inventory()
    lanes = max(len(pattern.starts) for pattern in patterns)
    with open_arena(setup.image, lanes=lanes) as arena, open_all(arena, _CONTESTANTS) as (entered, missing):
        for ready in entered.values():
            ready.entrant.prepare(0)
            ready.entrant.attempt(0)
            ready.entrant.settle()
        rows = []
        for pattern in patterns:
            done: dict[str, list[Attempt]] = {name: [] for name in entered}
            for _ in range(pattern.waves):
                for name, ready in entered.items():
                    done[name] += run_wave(ready.entrant, pattern)
            rows += [{"name": name, "pattern": pattern.name, **summarize(attempts)} for name, attempts in done.items()]
    return {"rows": rows, "missing": missing, "leftovers": inventory.count_new()}
