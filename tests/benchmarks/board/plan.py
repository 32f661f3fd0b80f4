"""Who is asked when. Nothing here waits; whoever follows a plan does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LATE = 0.8  # of the time between two tasks


@dataclass(frozen=True, slots=True)
class Step:
    """One task.

    Args:
        at: Seconds since the plan's beginning, at the earliest.
        name: Whose.
    """

    at: float
    name: str


def order_round(names: Sequence[str], number: int) -> list[str]:
    """All of them, beginning with another one each round, so that nobody always follows the same neighbour's work.

    Example:
        ```python
        order_round(["a", "b", "c"], 1)  # ["b", "c", "a"]
        ```
    """
    start = number % len(names)
    return [*names[start:], *names[:start]]


def plan_sustained(*, tasks: int, every: float, ours: str, hot: str, seldom: str, seldom_each: int) -> list[Step]:
    """Ours every so many seconds, the hot prompt late between two, and now and then one that takes long.

    Args:
        tasks: How many of ours.
        every: Seconds between two of them.
        ours: The first one's name.
        hot: The second one's, which follows when the pool is full again: earlier it would be slowed by that.
        seldom: The third one's. It has an interval for itself, so that nobody else meets its work.
        seldom_each: In how many rounds it has one.
    """
    steps = []
    start = 0.0
    for number in range(tasks):
        steps += [Step(start, ours), Step(start + every * _LATE, hot)]
        start += every
        if (number + 1) % seldom_each == 0:
            steps.append(Step(start, seldom))
            start += every
    return steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """How tasks come in.

    Args:
        name: As the table names it.
        starts: Seconds after the first at which each begins.
        waves: How often that is repeated.
        from_first: Whether each one's time counts from the first one's start.
    """

    name: str
    starts: tuple[float, ...]
    waves: int
    from_first: bool = False


PATTERNS = [
    Pattern(name="sequential", starts=(0.0,), waves=4),
    Pattern(name="staggered, 200 ms", starts=(0.0, 0.2, 0.4, 0.6), waves=2),
    Pattern(name="burst of 2", starts=(0.0,) * 2, waves=3, from_first=True),
    Pattern(name="burst of 4", starts=(0.0,) * 4, waves=2, from_first=True),
    Pattern(name="burst of 8", starts=(0.0,) * 8, waves=1, from_first=True),
]

CONCURRENCY = [1, 2, 4, 8, 16]
_LEAST_TASKS = 6


def count_tasks(concurrency: int) -> int:
    """How many tasks a point of the throughput curve is measured with: for each worker one, and a half more."""
    return max(_LEAST_TASKS, concurrency * 3 // 2)
