"""What a list of attempts amounts to. Seconds are rounded to milliseconds: what is written is what is told."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from board.contestant import Attempt

_DIGITS = 3


def summarize(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Number, median, p95, p99, least and most seconds, and how many were done by a spare where there are any."""
    seconds = [attempt.seconds for attempt in attempts]
    asked = [attempt.from_spare for attempt in attempts if attempt.from_spare is not None]
    figures: dict[str, Any] = {
        "n": len(seconds),
        "median": round(statistics.median(seconds), _DIGITS),
        "p95": round(find_percentile(seconds, 95), _DIGITS),
        "p99": round(find_percentile(seconds, 99), _DIGITS),
        "min": round(min(seconds), _DIGITS),
        "max": round(max(seconds), _DIGITS),
    }
    return figures | ({"hits": sum(asked)} if asked else {})


def find_percentile(seconds: Sequence[float], percent: int) -> float:
    """A percentile, interpolated between the figures; with few of them the high ones are nearly the maximum."""
    if len(seconds) == 1:
        return seconds[0]
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]


def find_ratio(ours: float, theirs: float) -> float:
    """How many times as long ours took."""
    return round(ours / theirs, 2)
