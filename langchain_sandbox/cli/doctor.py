"""`langchain-sandbox doctor`: what would keep a run from working, and how to mend it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from langchain_sandbox._version import __version__
from langchain_sandbox.cli.options import add_command, add_common_options
from langchain_sandbox.cli.terminal import Colour, paint
from langchain_sandbox.exits import COMPLETED, FAILED
from langchain_sandbox.narration import to_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from langchain_sandbox.doctor import Finding

_COLOURS: dict[str, Colour] = {"ok": "green", "warning": "yellow", "error": "red", "skipped": "grey"}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "doctor",
        summary="check everything that a run needs",
        description="Check everything that a run needs: this machine, the engine, the image and the model. One small "
        "container is made and removed, and the model is asked one small question. The exit code is 0 if there is no "
        "error, and 1 otherwise.",
        examples="""
            langchain-sandbox doctor
            langchain-sandbox doctor --workspace ~/project --model http://127.0.0.1:8000/v1
            langchain-sandbox doctor --runtime runsc               # try its walls
            langchain-sandbox doctor --json                        # in a script
        """,
    )
    add_common_options(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look, and print each finding as soon as it is known."""
    from langchain_sandbox.doctor import examine  # noqa: PLC0415 - loads the docker library

    findings = []
    asked = {name: getattr(options, name) for name in ("model", "workspace", "image", "runtime")}
    for finding in examine(**asked):
        findings.append(finding)
        if not options.json:
            sys.stdout.write(f"{_line(finding)}\n")
            sys.stdout.flush()
    ok = not any(finding.status == "error" for finding in findings)
    if options.json:
        answer = {"version": __version__, "ok": ok, "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(f"{json.dumps(answer, indent=2)}\n")
    else:
        sys.stdout.write(f"\n{_sum_up(findings)}\n")
    return COMPLETED if ok else FAILED


def _line(finding: Finding) -> str:
    words = to_line(f"{finding.message} {finding.remedy}")
    mark = paint(f"{finding.status:<8}", _COLOURS[finding.status], sys.stdout)
    return f"{mark} {finding.check:<11} {words}"


def _sum_up(findings: Sequence[Finding]) -> str:
    count = {status: sum(finding.status == status for finding in findings) for status in _COLOURS}
    if count["error"]:
        return (
            f"{count['error']} of {len(findings)} checks found an error. Begin with the first; it may explain others."
        )
    if count["warning"]:
        return f"Runs should work. {count['warning']} of {len(findings)} checks found something to be aware of."
    return f"Everything that a run needs is there ({len(findings)} checks)."
