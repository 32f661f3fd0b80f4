"""The question after a run: are its changes to be applied? Asked on standard error, answered on the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from langchain_sandbox.cli.answer import print_result
from langchain_sandbox.cli.applying import apply
from langchain_sandbox.cli.kept import choose_root
from langchain_sandbox.cli.summary import describe_changes
from langchain_sandbox.cli.terminal import paint, say, show_name, write_mark
from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.exits import COMPLETED, NOT_APPLIED
from langchain_sandbox.workspace.outbound.risks import MEANINGS, REFUSED

if TYPE_CHECKING:
    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.result import SandboxResult

Answer = Literal["apply", "keep", "show"]

_ANSWERS: dict[str, Answer] = {
    "a": "apply",
    "apply": "apply",
    "y": "apply",
    "yes": "apply",
    "k": "keep",
    "keep": "keep",
    "n": "keep",
    "no": "keep",
    "": "keep",
    "s": "show",
    "show": "show",
}


def review(result: SandboxResult, *, changes: ChangesPolicy) -> int:
    """Ask what is to become of a completed run's changes, and do it.

    Args:
        result: What the run gave back; it has been shown.
        changes: What the run was to do with its changes.

    Returns:
        The exit code.
    """
    if changes == "discard" or not (result.files or result.commits):
        return COMPLETED
    while (answer := _ask(result)) == "show":
        print_result(result, then=[])
    risky = list_refused(result)
    if answer == "apply" and (not risky or _ask_about(risky)):
        try:
            root = choose_root(None, result.workspace.root)
            apply(result, root, allow_risky=bool(risky))
        except SandboxApplyError as error:
            say(f"langchain-sandbox: error: {error}")
            return NOT_APPLIED
        return COMPLETED
    sys.stdout.write("\n".join(["Kept; nothing was touched.", *describe_changes(result, applied_to=None)[1:]]) + "\n")
    return COMPLETED


def list_refused(result: SandboxResult) -> list[str]:
    """The files and commits that are applied only if somebody says so, each with what it would do."""
    found = [(show_name(file.path), file.risks) for file in result.files]
    found += [(f"commit {commit.id[:12]}", commit.risks) for commit in result.commits]
    told = [(name, [MEANINGS[risk] for risk in MEANINGS if risk in risks and risk in REFUSED]) for name, risks in found]
    return [f"{name} {'; '.join(meanings)}" for name, meanings in told if meanings]


def _ask(result: SandboxResult) -> Answer:
    words = ("apply", "keep", "show again")
    keys = "  ".join(f"{paint(f'[{word[0]}]', 'bold', sys.stderr)}{word[1:]}" for word in words)
    sys.stderr.write(f"\nApply this to {show_name(result.workspace.root or '')}?\n")
    while True:
        typed = _read(f"{keys}  > ")
        if typed is None:
            return "keep"
        if typed in _ANSWERS:
            return _ANSWERS[typed]


def _ask_about(risky: list[str]) -> bool:
    mark = write_mark("⚠", "!", sys.stderr)
    for line in risky:
        sys.stderr.write(paint(f"  {mark} {line}", "yellow", sys.stderr) + "\n")
    return _read("These reach further than the project. Apply them too? [y/N] ") in {"y", "yes"}


def _read(question: str) -> str | None:
    """What was typed; `None` for Ctrl-D and Ctrl-C."""
    sys.stderr.write(question)
    sys.stderr.flush()
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        line = ""
    if not line:
        sys.stderr.write("\n")
        return None
    return line.strip().lower()
