"""Applying and reverting, in the command line's words."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from langchain_sandbox.cli.terminal import paint, show_name, write_mark
from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.applying.apply_result import apply_result, revert_result
from langchain_sandbox.workspace_config import ApplyPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.workspace.applying.told import ApplyReport

_OPTIONS = {
    'apply(result, policy=ApplyPolicy(risky="allow"))': "--allow-risky",
    'apply(result, policy=ApplyPolicy(commits="files"))': "--no-commits",
}
"""What a message tells a programmer to write, and what does the same here."""
_SHOWN = 20


def apply(
    result: SandboxResult, root: Path, *, allow_risky: bool = False, commits: bool = True, as_json: bool = False
) -> None:
    """Put a result's changes into a folder, and say what was done.

    Args:
        result: The result.
        root: The folder.
        allow_risky: Whether changes may reach further than the project.
        commits: Whether commits come along, or files alone.
        as_json: Whether a program reads what is said.

    Raises:
        SandboxApplyError: If it cannot be done; nothing was touched.
    """
    policy = ApplyPolicy(risky="allow" if allow_risky else "refuse", commits="auto" if commits else "files")
    try:
        report = apply_result(result, root, policy=policy)
    except SandboxApplyError as error:
        raise SandboxApplyError(translate(str(error))) from error
    if as_json:
        _print_json(result, root, report)
        return
    lines = describe_report(report)
    if not lines:
        lines = [f"Nothing to do: {show_name(str(root))} has these changes already."]
    else:
        lines = [_headline(f"applied to {show_name(str(root))}"), *lines]
        lines.append(f"To take it back: {paint(f'langchain-sandbox revert {result.run_id}', 'bold', sys.stdout)}")
    sys.stdout.write("\n".join(lines) + "\n")


def revert(result: SandboxResult, root: Path, *, as_json: bool = False) -> None:
    """Put a folder back as it was before a result was applied, and say what was done.

    Args:
        result: The result.
        root: The folder.
        as_json: Whether a program reads what is said.

    Raises:
        SandboxApplyError: If it cannot be done; nothing was touched.
    """
    report = revert_result(result, root)
    if as_json:
        _print_json(result, root, report)
        return
    lines = [_headline(f"{show_name(str(root))} is as it was before {result.run_id}"), *describe_report(report)]
    sys.stdout.write("\n".join(lines) + "\n")


def translate(message: str) -> str:
    """A message with the command line's options in place of Python's."""
    for python, option in _OPTIONS.items():
        message = message.replace(python, option)
    return message


def describe_report(report: ApplyReport) -> list[str]:
    """What was done, a line for each thing; none if nothing was."""
    lines = [
        f"  {show_name(path)}{' (merged with what had changed there)' if path in report.merged else ''}"
        for path in report.paths[:_SHOWN]
    ]
    if len(report.paths) > _SHOWN:
        lines.append(f"  ... and {len(report.paths) - _SHOWN} more")
    if report.forwarded is not None:
        lines.append(f"  branch {show_name(report.forwarded)} moved forward")
    if report.branch is not None:
        lines.append(f"  branch {show_name(report.branch)} holds the commits")
    return lines


def _headline(words: str) -> str:
    return f"{paint(write_mark('✓', '+', sys.stdout), 'green', sys.stdout)} {words}"


def _print_json(result: SandboxResult, root: Path, report: ApplyReport) -> None:
    answer = {"run_id": result.run_id, "workspace": str(root), **asdict(report)}
    sys.stdout.write(f"{json.dumps(answer)}\n")
