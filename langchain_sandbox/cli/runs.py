"""`langchain-sandbox runs`: the runs that are kept on this machine, the latest first."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from langchain_sandbox.cli.options import add_command
from langchain_sandbox.cli.terminal import say
from langchain_sandbox.exits import COMPLETED

if TYPE_CHECKING:
    from langchain_sandbox.cli.table import Cell
    from langchain_sandbox.kept_runs import KeptRun

_USUAL = 20
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "runs",
        summary="list the runs that are kept",
        description="List the runs that are kept on this machine, the latest first, whoever started them: this "
        "command, a program, an agent. SANDBOX_KEEP_RUNS, _DAYS and _SIZE say how many are kept.",
        examples="""
            langchain-sandbox runs
            langchain-sandbox runs --limit 100 --json | jq -r '.[] | select(.status == "timeout") | .run_id'
        """,
    )
    parser.add_argument(
        "--limit", metavar="N", type=_parse_limit, default=_USUAL, help=f"how many; {_USUAL} by default"
    )
    parser.add_argument("--json", action="store_true", help="print them as one JSON array")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List them."""
    from langchain_sandbox.kept_runs import list_runs  # noqa: PLC0415 - loads pydantic
    from langchain_sandbox.run_folder import state_folder  # noqa: PLC0415 - as above

    found = list_runs()
    rows = [describe(kept) for kept in found[: options.limit]]
    if options.json:
        sys.stdout.write(f"{json.dumps(rows)}\n")
        return COMPLETED
    if not rows:
        say(f"No run is kept in {state_folder() / 'runs'}.")
        return COMPLETED
    _print_table(rows)
    if len(found) > len(rows):
        say(f"{len(found) - len(rows)} more are kept; --limit shows more.")
    return COMPLETED


def describe(kept: KeptRun) -> dict[str, Any]:
    """What is worth knowing of a run at a glance, as plain data.

    Args:
        kept: The run. Of one that has no result, or none that can be read, little is known.
    """
    from langchain_sandbox.cli.kept import find_applied  # noqa: PLC0415 - loads pydantic
    from langchain_sandbox.errors import SandboxConfigError  # noqa: PLC0415 - as above

    told: dict[str, Any] = {
        "run_id": kept.run_id,
        "at": datetime.fromtimestamp(kept.at, UTC).isoformat(timespec="seconds"),
        "status": kept.status,
        "under_way": kept.under_way,
        "task": "",
        "workspace": None,
        "files": 0,
        "insertions": 0,
        "deletions": 0,
        "commits": 0,
        "applied_to": find_applied(kept.run_id),
    }
    try:
        result = kept.result()
    except SandboxConfigError:
        return told
    return told | {
        "task": result.settings.task,
        "workspace": result.workspace.root,
        "files": len(result.files),
        "insertions": sum(file.insertions for file in result.files),
        "deletions": sum(file.deletions for file in result.files),
        "commits": len(result.commits),
    }


def tell_age(at: float, now: float) -> str:
    """How long ago something was, to the nearest unit that says enough.

    Args:
        at: When it was, in seconds since 1970.
        now: The present.
    """
    age = max(0.0, now - at)
    for size, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "min")):
        if age >= size:
            number = int(age // size)
            return f"{number} {name}{'s' if number > 1 and name != 'min' else ''} ago"
    return "just now"


def _print_table(rows: list[dict[str, Any]]) -> None:
    from langchain_sandbox.cli.table import window_width, write_table  # noqa: PLC0415 - loads rich

    now = time.time()
    heads = ["RUN", "STATUS", "WHEN", "CHANGES", "APPLIED", "TASK"]
    lines = write_table(heads, [_build_cells(row, now) for row in rows], width=window_width())
    sys.stdout.write("\n".join(lines) + "\n")


def _build_cells(row: dict[str, Any], now: float) -> list[Cell]:
    changes = [f"{row['files']} +{row['insertions']} -{row['deletions']}"] if row["files"] else []
    changes += [f"{row['commits']} commit{'s' if row['commits'] > 1 else ''}"] if row["commits"] else []
    status = row["status"] or ("running" if row["under_way"] else "killed")
    return [
        (row["run_id"], "yellow"),
        (status, {"completed": "green", "running": "cyan"}.get(status, "red")),  # type: ignore[list-item]
        (tell_age(datetime.fromisoformat(row["at"]).timestamp(), now), "grey"),
        (", ".join(changes) or "-", None),
        ("yes" if row["applied_to"] else "-", None),
        (row["task"], None),
    ]


def _parse_limit(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    msg = f"{text!r} is no number of runs"
    raise argparse.ArgumentTypeError(msg)
