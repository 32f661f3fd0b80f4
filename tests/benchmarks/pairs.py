"""What every benchmark shares: pairs measured in turns, and the row that they amount to."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable


class BenchmarkError(Exception):
    """Something could not be measured; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a benchmark is given.

    Args:
        image: Id of the sandbox image.
        runs: How many pairs should count.
    """

    image: str
    runs: int


@dataclass(frozen=True, slots=True)
class Samples:
    """Seconds, one figure for each run."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p95(self) -> float:
        """Interpolated between the figures; with few of them it is nearly the maximum."""
        return statistics.quantiles(self.seconds, n=20, method="inclusive")[-1]

    @property
    def p99(self) -> float:
        """As `p95`."""
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One benchmark's outcome.

    Args:
        name: As the table names it.
        ours: What the package took.
        baseline: What the other way took, in turns with it.
        unit: How the table tells the figures.
        goal: What we want, and whether it is so.
        what: What was measured, exactly; a sentence or two for each side.
    """

    name: str
    ours: Samples
    baseline: Samples
    unit: Literal["s", "ms"]
    goal: str
    what: str

    @property
    def ratio(self) -> float:
        """Of the medians; below 1 means that ours is faster."""
        return self.ours.median / self.baseline.median


def interleave(ours: Callable[[], float], baseline: Callable[[], float], *, runs: int) -> tuple[Samples, Samples]:
    """Measure both in turns; the first pair warms caches and connections up and does not count."""
    pairs = [(ours(), baseline()) for _ in range(runs + 1)][1:]
    return Samples([pair[0] for pair in pairs]), Samples([pair[1] for pair in pairs])


def judge(goal: str, *, met: bool) -> str:
    """A goal with its verdict."""
    return f"{goal}: {'met' if met else 'missed'}"
