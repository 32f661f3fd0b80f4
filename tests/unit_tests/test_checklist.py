"""The checklist: every row once, every test that a row names there, and the page made from what tests have shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from checklist.page import PAGE, render
from checklist.rows import ROWS, find_rows

TESTS = Path(__file__).parents[1]
FIRST = {"N": 6, "H": 11, "C": 9, "W": 7, "R": 10}


def test_every_row_is_there_once() -> None:
    assert [row.id for row in ROWS] == [
        f"{letter}{number + 1}" for letter, count in FIRST.items() for number in range(count)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_is_shown_by_tests_that_there_are_or_says_why_not(row: object) -> None:
    listed = [test.partition("::") for test in row.tests]
    for file, _, name in listed:
        assert f"def {name}(" in (TESTS / file).read_text(), name
    named = [
        path
        for path in (TESTS / "integration_tests").glob("test_*.py")
        if re.search(rf"^(?:async )?def test_(?:[nhcwr]\d+_)*{row.id.lower()}_", path.read_text(), re.MULTILINE)
    ]
    assert listed or named or row.word


@pytest.mark.parametrize(
    ("node", "rows"),
    [
        ("tests/integration_tests/test_walls.py::test_n1_n2_nothing_can_be_reached", ["N1", "N2"]),
        ("tests/integration_tests/test_walls.py::test_h10_x[one]", ["H10"]),
        ("tests/integration_tests/test_isolation.py::test_there_is_no_network", ["N1"]),
        ("tests/integration_tests/test_isolation.py::test_hello", []),
        ("tests/integration_tests/test_c.py::test_c_y", []),
    ],
)
def test_the_rows_of_a_test(node: str, rows: list[str]) -> None:
    assert find_rows(node) == rows


def test_the_page_tells_figures_and_what_failed_and_what_was_not_tried() -> None:
    test = {
        "file": "integration_tests/test_a.py",
        "name": "test_it_holds",
        "outcome": "passed",
        "figures": [],
        "reason": "",
    }
    seen = {
        "N1": [test | {"figures": ["0 of 8 places"]}],
        "N2": [test],
        "N3": [test | {"outcome": "failed"}],
        "H11": [test | {"outcome": "skipped", "reason": "runsc is not installed"}],
    }
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in render(seen, machine={"cores": "2"}).splitlines()}
    assert rows["N1"].endswith("| 0 of 8 places | [it holds](../tests/integration_tests/test_a.py) |")
    assert "| so it is |" in rows["N2"]
    assert "| FAILED |" in rows["N3"]
    assert "| runsc is not installed. By" in rows["H11"]
    assert rows["N6"].endswith("| no test | — |")
    assert "Benchmarks" in rows["N5"]


def test_the_page_that_is_committed_has_every_row_and_no_failure() -> None:
    page = PAGE.read_text()
    assert re.findall(r"^\| ([A-Z]\d+) \|", page, re.MULTILINE) == [row.id for row in ROWS]
    assert "FAILED" not in page
    assert "| no test |" not in page
