"""docs/checklist.md, from what a run of the tests has left in build/checklist.json: `make checklist`.

Pure but for `main`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from checklist.rows import ROWS, Row

ROOT = Path(__file__).parents[2]
SEEN = ROOT / "build/checklist.json"
PAGE = ROOT / "docs/checklist.md"


def render(
    seen: dict[str, list[dict[str, Any]]], *, machine: dict[str, str], measured: dict[str, str] | None = None
) -> str:
    """The page.

    Args:
        seen: For each row the tests that ran: their names, outcomes and figures.
        machine: What they ran on.
        measured: Figures of rows that no test has, since they are the benchmarks' own.
    """
    rows = "\n".join(_render_row(row, seen.get(row.id, []), (measured or {}).get(row.id)) for row in ROWS)
    facts = "\n".join(f"- {name}: {words}" for name, words in machine.items())
    return f"""# Checklist

Written by `make checklist` from a run of all tests (`make test`) on a real engine with the real OpenCode: each row
is something that hostile code, a bad network or a bad day does to a sandbox, what has to come of it, and what came
of it.
[Security](security.md) says what it all amounts to.

| id | property | expected | seen | shown by |
|---|---|---|---|---|
{rows}

## The machine

{facts}
"""


def read_measured(benchmarks: dict[str, Any]) -> dict[str, str]:
    """The figures that are in docs/benchmarks.json. Pure.

    Args:
        benchmarks: Its content.
    """
    rows = {row["name"]: row for row in benchmarks["parts"]["pairs"]["rows"]}
    ways = {
        count: rows[f"in, {count} files"]["ours"]["median"] + rows[f"out, {count} files"]["ours"]["median"]
        for count in ("1,000", "20,000")
    }
    return {
        "N5": rows["gateway"]["goal"].partition(";")[0],
        "W7": ", ".join(f"{count} files {seconds:.2f} s" for count, seconds in ways.items()),
    }


def _render_row(row: Row, tests: list[dict[str, Any]], measured: str | None) -> str:
    figures = measured or "; ".join(dict.fromkeys(_cell(figure) for test in tests for figure in test["figures"]))
    failed = [test for test in tests if test["outcome"] == "failed"]
    skipped = bool(tests) and all(test["outcome"] == "skipped" for test in tests)
    verdict = "FAILED" if failed else "skipped" if skipped else "so it is" if tests else "no test"
    reasons = "; ".join(dict.fromkeys(test["reason"] for test in tests if test["reason"])) if skipped else ""
    told = verdict if failed else figures or reasons or ("" if row.word and not tests else verdict)
    words = ". ".join(part for part in (told, row.word) if part)
    shown = ", ".join(f"[{_read(test['name'])}](../tests/{test['file']})" for test in tests)
    return f"| {row.id} | {row.property} | {row.expected} | {words} | {shown or '—'} |"


def _cell(figure: str) -> str:
    """A figure as a table's cell takes it."""
    return "".join(letter if letter.isprintable() else " " for letter in figure).replace("|", "\\|")


def _read(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def main() -> int:
    """Write the page."""
    from machine import describe_machine  # noqa: PLC0415 - of the benchmarks

    if not SEEN.is_file():
        sys.stderr.write("There is no build/checklist.json: run `make test` first.\n")
        return 1
    seen = json.loads(SEEN.read_text(encoding="utf-8"))
    measured = read_measured(json.loads((ROOT / "docs/benchmarks.json").read_text(encoding="utf-8")))
    PAGE.write_text(render(seen, machine=describe_machine(), measured=measured), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
