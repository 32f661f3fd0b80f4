"""A small soak: runs that fail in every way at moments of chance. The whole one is `make soak`; docs/soak.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from soak.run import soak

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.timeout(600)
def test_r10_forty_runs_of_which_many_fail_leave_nothing(record_property: Callable[[str, object], None]) -> None:
    told = soak(runs=20, faults=20, at_once=4, seed=7)
    assert told["wrong"] == [], json.dumps(told["wrong"], indent=1)
    assert {what: count for what, count in told["left"].items() if count} == {}
    assert {row["fault"] for row in told["rows"]} >= {"none", "host killed", "output damaged"}
    record_property("R10", f"here {told['runs'] + told['faults']} runs: 0 ended wrongly, 0 of anything left")
