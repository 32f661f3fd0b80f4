"""The report's axis of time: what stands where."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_sandbox.html.amounts import MOST, format_bytes, format_moment, format_seconds
from langchain_sandbox.html.timeline import Bar, choose_ticks, draw_timeline, find_phases, stack

seconds = st.floats(min_value=0, max_value=1e6)


def bar(start: float, end: float) -> Bar:
    return Bar(start=start, end=end, css="step", title="")


def test_phases_follow_each_other_and_leave_out_what_never_came() -> None:
    timings = {"created": 1.0, "started": None, "ready": 3.0, "booted": None, "worked": None, "total": 5.0}
    assert [(phase.title, phase.start, phase.end) for phase in find_phases(timings)] == [
        ("Prepared", 0.0, 1.0),
        ("Program answered", 1.0, 3.0),
        ("Removed, patch made", 3.0, 5.0),
    ]


@given(st.lists(st.tuples(seconds, seconds).map(lambda pair: bar(min(pair), max(pair))), max_size=30))
def test_bars_in_one_tier_do_not_overlap_and_none_is_lost(bars: list[Bar]) -> None:
    tiers = stack(bars)
    assert sorted(each.start for tier in tiers for each in tier) == sorted(each.start for each in bars)
    for tier in tiers[:4]:
        assert all(before.end <= after.start for before, after in pairwise(tier))


@given(st.floats(min_value=0.01, max_value=1e7))
def test_ticks_are_few_and_none_is_after_the_end(total: float) -> None:
    ticks = choose_ticks(total)
    assert ticks[0] == 0
    assert len(ticks) <= 7
    assert all(tick <= total * 1.01 for tick in ticks)


@given(st.lists(st.floats(), min_size=6, max_size=6))
def test_whatever_the_clocks_say_nothing_is_drawn_outside(clocks: list[float]) -> None:
    at, took, asked, lasted, waited, total = clocks
    fields: dict[str, Any] = {
        "timings": {"created": at, "worked": took, "total": total},
        "steps": [{"index": 0, "text": "", "at": at, "seconds": took, "uses": []}],
        "model_calls": [
            {"index": 0, "at": asked, "duration": lasted, "first_byte": waited, "status": 200, "error": None}
            | {"prompt_tokens": 5, "completion_tokens": 1}
        ],
    }
    drawn = "".join(draw_timeline(fields))
    assert bool(drawn) == (0 < total <= MOST)
    for left, wide in re.findall(r'x="([^"]+)%" y="\d+" width="([^"]+)%"', drawn):
        assert 0 <= float(left) <= float(left) + float(wide) <= 100.02


@pytest.mark.parametrize(
    ("given", "said"),
    [(None, "\u2013"), (math.nan, "\u2013"), (0.2, "0.20 s"), (7, "7 s"), (59.97, "1 min"), (125, "2 min 5 s")],
)
def test_seconds_in_words(given: float | None, said: str) -> None:
    assert format_seconds(given) == said


def test_moments_and_sizes_in_words() -> None:
    assert [format_moment(at) for at in (0, 0.5, 15, 90, 3600)] == ["0 s", "0.5 s", "15 s", "1:30", "60:00"]
    sizes = [format_bytes(size) for size in (1, 1023, 1536, 2**31, 2**50)]
    assert sizes == ["1 byte", "1023 bytes", "1.5 KiB", "2 GiB", "1.02e+03 TiB"]
