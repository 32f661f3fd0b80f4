"""What the soak plans and tells."""

from __future__ import annotations

import json
from collections import Counter

from soak.page import render
from soak.plan import FAULTS, HOST_KILLED, NONE, Planned, plan_faults, plan_runs
from soak.run import DOCS
from soak.runs import Outcome


def test_the_same_seed_is_the_same_plan_and_a_tenth_is_killed() -> None:
    plan = plan_runs(500, killed=0.1, seed=3)
    assert plan == plan_runs(500, killed=0.1, seed=3)
    assert plan != plan_runs(500, killed=0.1, seed=4)
    assert Counter(each.fault.name for each in plan) == {"none": 450, "host killed": 50}
    assert [each.number for each in plan] == list(range(500))


def test_the_page_is_made_from_what_was_measured_and_nothing_was_left() -> None:
    told = json.loads((DOCS / "soak.json").read_text())
    assert (DOCS / "soak.md").read_text() == render(told)
    assert (told["runs"], told["faults"], told["load"]["runs"]) == (500, 200, 100)
    assert told["good"]


def test_every_fault_comes_as_often() -> None:
    counts = Counter(each.fault.name for each in plan_faults(200, seed=1))
    assert set(counts) == {fault.name for fault in FAULTS}
    assert max(counts.values()) - min(counts.values()) <= 1


def test_which_endings_are_right() -> None:
    def end(fault: object, status: str, seconds: float = 1.0) -> Outcome:
        return Outcome(planned=Planned(number=0, fault=fault, at=1.0), status=status, words="", seconds=seconds)

    assert end(NONE, "completed").right
    assert not end(NONE, "raised").right
    assert end(HOST_KILLED, "killed").right
    assert not end(HOST_KILLED, "silent").right
    reach = next(fault for fault in FAULTS if fault.name == "engine out of reach")
    assert end(reach, "raised").right
    assert not end(reach, "crashed").right
    assert end(NONE, "completed", 50.5).late
    assert not end(NONE, "completed", 49.5).late


def test_the_page_tells_what_is_left_and_what_was_wrong() -> None:
    told = {
        "runs": 20,
        "faults": 20,
        "at_once": 4,
        "seed": 1,
        "seconds": 120.0,
        "rows": [{"fault": "none", "what": "nothing", "endings": {"completed": 18, "crashed": 2}, "longest": 9.5}],
        "wrong": [{"number": 3, "fault": "none", "at": 1.5, "status": "crashed", "words": "no_result", "seconds": 4.0}],
        "left": {"containers": 0, "threads": 1},
        "load": None,
        "machine": {"cores": "2"},
    }
    page = render(told)
    assert "| none | nothing | 18 completed, 2 crashed | 9.5 s |" in page
    assert "- run 3, none at 1.5 s: crashed after 4.0 s (no_result)" in page
    assert "More than before, afterwards: 0 containers, 1 threads." in page
    assert "none." in render({**told, "wrong": []})
