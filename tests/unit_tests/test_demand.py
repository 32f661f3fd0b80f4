"""Which spares are kept: as many as there may be, of the kinds that the latest tasks were of."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_sandbox.demand import Demand
from langchain_sandbox.pool_config import Pool

KINDS = st.sampled_from("abc")
MIB = 1024 * 1024


def make(size: int, *noted: str, memory: str | None = None) -> Demand[str]:
    demand: Demand[str] = Demand(Pool(size=size, memory=memory))
    for kind in noted:
        demand.note(kind)
    return demand


@pytest.mark.parametrize(
    ("noted", "there", "missing"),
    [
        ("", "", []),
        ("a", "", ["a"]),
        ("a", "a", []),
        ("aaaa", "a", ["a", "a"]),
        ("aab", "", ["b", "a", "a"]),
        ("aab", "aaa", []),  # first one of them has to go
        ("aaab", "aa", ["b"]),
        ("aaaa", "aaaaa", []),
    ],
)
def test_what_was_asked_for_last_is_booted_first(noted: str, there: str, missing: list[str]) -> None:
    assert make(3, *noted).find_missing(there) == missing


def test_what_nobody_asks_for_any_more_is_surplus() -> None:
    demand = make(2, "a", "a")
    assert demand.find_surplus("aa") == []
    demand.note("b")
    assert demand.find_surplus("aa") == ["a"]
    demand.fill("b")
    assert demand.find_surplus("ab") == ["a"]
    assert demand.find_missing("b") == ["b"]


def test_one_that_has_waited_in_vain_is_not_replaced() -> None:
    demand = make(2, "a", "b")
    demand.drop("a")
    demand.drop("c")
    assert demand.find_missing("") == ["b"]
    assert demand.count("a") == 0


@pytest.mark.parametrize(
    ("limit", "told", "fit"),
    [(None, 10_000, 4), ("600m", None, 1), ("600m", 300, 2), ("2g", 300, 4), ("600m", 700, 0), ("512m", None, 1)],
)
def test_the_memory_of_all_together_is_bounded(limit: str | None, told: int | None, fit: int) -> None:
    demand = make(4, *"aaaa", memory=limit)
    assert len(demand.find_missing("", memory=told and told * MIB)) == fit


@given(st.integers(1, 5), st.lists(KINDS, max_size=12), st.lists(KINDS, max_size=8), st.integers(1, 2000))
def test_a_pool_becomes_what_is_wanted_and_never_more_than_it_may(
    size: int, noted: list[str], there: list[str], memory: int
) -> None:
    demand: Demand[str] = Demand(Pool(size=size, memory="1g"))
    for kind in noted:
        demand.note(kind)
    ready = Counter(there) - Counter(demand.find_surplus(there))
    missing = demand.find_missing(ready.elements(), memory=memory * MIB)
    ready += Counter(missing)
    room = min(size, 1024 // memory)
    wanted = Counter(noted[-size:])
    assert ready <= wanted
    assert not missing or ready.total() <= room
    assert ready == wanted or ready.total() >= room
    assert demand.find_surplus(ready.elements()) == []
