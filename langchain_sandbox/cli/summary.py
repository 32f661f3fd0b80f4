"""The summary of a result, in a few lines: how it ended, what it used, what it changed, what can be done with that."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from langchain_sandbox.cli.terminal import paint, show_name, write_mark
from langchain_sandbox.narration import to_line
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.untrusted import strip_controls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_sandbox.cli.terminal import Colour
    from langchain_sandbox.result import FileChange, SandboxResult

SHOWN = 20
"""Files, commits and warnings that are named; of the others it is said how many there are."""

_LETTERS = {"added": "A", "modified": "M", "deleted": "D", "renamed": "R"}
_LETTER_COLOURS: dict[str, Colour] = {"added": "green", "deleted": "red"}
_LONGEST_NAME = 48  # columns for paths, so that what stands behind them stands in a line


def sum_up(result: SandboxResult) -> list[str]:
    """How it ended, what it used, and what it changed."""
    lines = [describe_end(result)]
    if not result.ok:
        lines += [f"  {line}" for text in (result.ending.message, result.ending.hint) for line in _plain_lines(text)]
    lines += [
        paint(f"  {write_mark('⚠', '!', sys.stdout)} {to_line(text)}", "yellow", sys.stdout)
        for text in result.warnings[:SHOWN]
    ]
    lines += _count_rest(result.warnings, "warning")
    if result.files:
        lines += ["", f"{describe_size(result.files)}{', as far as the run came' if result.partial else ''}"]
        lines += list_files(result.files)
    if result.commits:
        lines += ["", _count(len(result.commits), "commit")]
        for commit in result.commits[:SHOWN]:
            lines.append(f"  {paint(commit.id[:12], 'yellow', sys.stdout)} {to_line(commit.subject)}")
        lines += _count_rest(result.commits, "commit")
    return lines


def describe_end(result: SandboxResult) -> str:
    """How it ended and what it used, on one line."""
    mark = write_mark("✓", "+", sys.stdout) if result.ok else write_mark("✗", "x", sys.stdout)
    usage = result.usage
    end = paint(f"{mark} {result.status}", "green" if result.ok else "red", sys.stdout)
    figures = [f"{result.timings.total:.1f} s", _count(usage.model_calls, "model call")]
    figures.append(f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out")
    return f"{end} in {' · '.join(figures)}"


def describe_size(files: Sequence[FileChange]) -> str:
    """How many files, and how many lines of them."""
    insertions = paint(f"+{sum(file.insertions for file in files)}", "green", sys.stdout)
    deletions = paint(f"-{sum(file.deletions for file in files)}", "red", sys.stdout)
    return f"{_count(len(files), 'file')} changed {insertions} {deletions}"


def list_files(files: Sequence[FileChange]) -> list[str]:
    """A line for each file: what became of it, and what about it deserves a second look."""
    names = [
        show_name(file.path if file.old_path is None else f"{file.old_path} -> {file.path}") for file in files[:SHOWN]
    ]
    width = min(_LONGEST_NAME, max(map(len, names), default=0))
    lines = []
    for name, file in zip(names, files, strict=False):
        letter = paint(_LETTERS.get(file.kind, "?"), _LETTER_COLOURS.get(file.kind), sys.stdout)
        size = "binary" if file.binary else f"+{file.insertions} -{file.deletions}"
        risks = paint(f"  {write_mark('⚠', '!', sys.stdout)} {', '.join(file.risks)}", "yellow", sys.stdout)
        lines.append(f"  {letter} {name:<{width}}  {paint(size, 'grey', sys.stdout)}{risks if file.risks else ''}")
    return [*lines, *_count_rest(files, "file")]


def describe_changes(result: SandboxResult, *, applied_to: str | None) -> list[str]:
    """Where the changes are, and what to type to have them elsewhere.

    Args:
        result: What the run gave back.
        applied_to: The folder that they are in now; `None` for none.
    """
    run = result.run_id
    if not result.files and not result.commits:
        dropped = ", and were not to be" if result.settings.changes == "discard" else ""
        return [f"No files were changed{dropped}."]
    if applied_to is not None:
        return [f"Applied to {show_name(applied_to)}.", _tell(f"revert {run}", "take it back")]
    if result.settings.changes == "discard":
        return ["Not applied: the changes were to be discarded."]
    if not RunFolder.of(run).result.exists():
        return ["Not applied, and nothing of the run is kept (SANDBOX_KEEP_*)."]
    where = "" if result.workspace.root else " --workspace DIR"
    return [
        f"Not applied to {show_name(result.workspace.root or 'any folder')}.",
        _tell(f"apply {run}{where}", "apply it"),
    ]


def _tell(command: str, what: str) -> str:
    return f"To {what}: {paint(f'langchain-sandbox {command}', 'bold', sys.stdout)}"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _count_rest(things: Sequence[object], name: str) -> list[str]:
    return [f"  ... and {_count(len(things) - SHOWN, f'more {name}')}"] if len(things) > SHOWN else []


def _plain_lines(text: str) -> list[str]:
    return [line for line in strip_controls(text).strip().split("\n") if line]
