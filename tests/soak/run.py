"""Many runs, and what is left of them: `make soak`.

    python -m soak.run [--runs 500] [--faults 200] [--at-once 8] [--seed 1] [--queued 100] [--write]

A tenth of the runs have their host killed; then, to each of some more, something happens at a moment of chance. Every
run has to end as what happened to it leads to, in time, and nothing may be left of any. In the end a hundred begin
at once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soak.inventory import find_left, take_inventory, temporary_folder
from soak.load import measure_load
from soak.page import render
from soak.plan import NONE, Planned, plan_faults, plan_runs
from soak.runs import play

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soak.runs import Outcome

KILLED = 0.1
DOCS = Path(__file__).parents[2] / "docs"
_REST = 11.0  # seconds; who keeps threads at hand lets them go after ten
_TELL_EACH = 25


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it all and print the page; 1 if something is not as it should be."""
    options = _parse(arguments)
    told = soak(
        runs=options.runs, faults=options.faults, at_once=options.at_once, seed=options.seed, queued=options.queued
    )
    print(render(told))
    if options.write:
        (DOCS / "soak.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        (DOCS / "soak.md").write_text(render(told), encoding="utf-8")
    return 0 if told["good"] else 1


def soak(*, runs: int, faults: int, at_once: int, seed: int, queued: int = 0) -> dict[str, Any]:
    """Have it all happen, and tell what came of it.

    Args:
        runs: Runs of which a tenth have their host killed.
        faults: Runs to each of which something happens.
        at_once: How many are under way.
        seed: What chance begins with.
        queued: Runs that are begun all at once, when those are over.
    """
    with tempfile.TemporaryDirectory(prefix="langchain-sandbox-soak-") as folder, temporary_folder(Path(folder)):
        return _soak(runs=runs, faults=faults, at_once=at_once, seed=seed, queued=queued)


def _soak(*, runs: int, faults: int, at_once: int, seed: int, queued: int) -> dict[str, Any]:
    from machine import describe_machine  # noqa: PLC0415 - of the benchmarks

    plan = [*plan_runs(runs, killed=KILLED, seed=seed), *plan_faults(faults, seed=seed)]
    with ThreadPoolExecutor(at_once) as threads:
        list(
            threads.map(play, [Planned(number=-1, fault=NONE, at=0.0)] * at_once)
        )  # whatever is kept for later is there
    _settle()
    before = take_inventory()
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as threads:
        outcomes = []
        for number, outcome in enumerate(threads.map(play, plan), 1):
            outcomes.append(outcome)
            if number % _TELL_EACH == 0:
                sys.stderr.write(f"soak: {number} of {len(plan)}\n")
    seconds = time.monotonic() - began
    load = measure_load(runs=queued) if queued else None
    _settle()
    left = find_left(before)
    wrong = [outcome for outcome in outcomes if not outcome.right or outcome.late]
    return {
        "runs": runs,
        "faults": faults,
        "at_once": at_once,
        "seed": seed,
        "seconds": round(seconds, 1),
        "rows": _summarize(outcomes),
        "wrong": [_describe(outcome) for outcome in wrong],
        "left": left,
        "load": load,
        "machine": describe_machine(),
        "good": not wrong and not any(left.values()) and (load is None or load["statuses"] == {"completed": queued}),
    }


def _settle() -> None:
    """A last run has the garbage of dead processes collected, and threads let go that wait for work."""
    time.sleep(_REST)
    play(Planned(number=-1, fault=NONE, at=0.0))


def _summarize(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        fault = outcome.planned.fault
        row = rows.setdefault(fault.name, {"fault": fault.name, "what": fault.what, "endings": {}, "longest": 0.0})
        row["endings"][outcome.status] = row["endings"].get(outcome.status, 0) + 1
        row["longest"] = max(row["longest"], round(outcome.seconds, 1))
    return list(rows.values())


def _describe(outcome: Outcome) -> dict[str, Any]:
    planned = outcome.planned
    return {
        "number": planned.number,
        "fault": planned.fault.name,
        "at": planned.at,
        "status": outcome.status,
        "words": outcome.words,
        "seconds": round(outcome.seconds, 1),
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Many runs, and what is left of them.")
    parser.add_argument("--runs", type=int, default=500, help="runs of which a tenth are killed (500)")
    parser.add_argument("--faults", type=int, default=200, help="runs to which something happens (200)")
    parser.add_argument("--at-once", type=int, default=8, help="how many are under way (8)")
    parser.add_argument("--seed", type=int, default=1, help="what chance begins with (1)")
    parser.add_argument("--queued", type=int, default=100, help="runs that are begun all at once in the end (100)")
    parser.add_argument("--write", action="store_true", help="write docs/soak.json and docs/soak.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
