"""A pytest plugin that notes what the tests of the checklist's rows have shown, in build/checklist.json.

A test tells a figure by `record_property("N1", "0 of 8 places answered")`. With pytest-xdist the process that collects
the others' reports writes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from checklist.page import SEEN
from checklist.rows import ROWS, find_rows

_IDS = {row.id for row in ROWS}


class Recorder:
    """Listens to the tests' reports."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, dict[str, Any]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a report; one that was skipped has none of its call."""
        if report.when != "call" and not report.skipped and not report.failed:
            return
        file, _, rest = report.nodeid.removeprefix("tests/").partition("::")
        name = rest.partition("[")[0].rpartition("::")[2]
        for row in find_rows(report.nodeid):
            figures = [str(value) for key, value in report.user_properties if key == row]
            told = self._seen.setdefault(row, {}).setdefault(
                name, {"file": file, "name": name, "outcome": report.outcome, "figures": [], "reason": ""}
            )
            told["figures"] += [figure for figure in figures if figure not in told["figures"]]
            if report.failed or (told["outcome"] == "skipped" and report.passed):
                told["outcome"] = report.outcome
            if report.skipped and isinstance(report.longrepr, tuple):
                told["reason"] = report.longrepr[2].removeprefix("Skipped: ")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Put it down beside what earlier runs have shown of other rows' tests."""
        if hasattr(session.config, "workerinput") or not self._seen:
            return
        known: dict[str, list[dict[str, Any]]] = {}
        if SEEN.is_file():
            known = json.loads(SEEN.read_text(encoding="utf-8"))
        for row, tests in self._seen.items():
            # One that could not run here and now does not undo what an earlier run has shown.
            told = {test["name"]: test for test in known.get(row, [])}
            told |= {name: test for name, test in tests.items() if test["outcome"] != "skipped" or name not in told}
            known[row] = sorted(told.values(), key=lambda test: (test["file"], test["name"]))
        SEEN.parent.mkdir(exist_ok=True)
        SEEN.write_text(json.dumps({row: known[row] for row in known if row in _IDS}, indent=1), encoding="utf-8")
