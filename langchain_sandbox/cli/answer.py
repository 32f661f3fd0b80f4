"""A result on standard output: what the agent said, what it changed, and a summary; or JSON."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from langchain_sandbox.cli.summary import sum_up
from langchain_sandbox.cli.terminal import is_screen, paint
from langchain_sandbox.untrusted import show_controls, strip_controls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_sandbox.cli.terminal import Colour
    from langchain_sandbox.result import SandboxResult

_DIFF_SHOWN = 64 * 1024
_HASH = re.compile(r"\b([0-9a-f]{9})[0-9a-f]{31}\b")


def print_json(result: SandboxResult) -> None:
    """Print the result as one line of JSON, in ASCII: it is valid in every encoding, and steers no terminal."""
    sys.stdout.write(f"{write_json(result)}\n")
    sys.stdout.flush()


def write_json(result: SandboxResult) -> str:
    """The result as JSON, on one line and in ASCII."""
    return json.dumps(result.model_dump(mode="json"))


def print_result(result: SandboxResult, *, then: Sequence[str]) -> None:
    """Print what the agent said, what changed and how it ended.

    Args:
        result: What the run gave back.
        then: Lines to end with, such as what can be done with the changes.
    """
    text = strip_controls(result.text).strip()
    parts = [_wrap(text)] if text else []
    if result.structured is not None:
        answer = result.model_dump(mode="json", include={"structured"})["structured"]
        parts.append(show_controls(json.dumps(answer, indent=2, ensure_ascii=False)))
    if result.patch:
        parts.append(paint_diff(result.patch[:_DIFF_SHOWN]))
        if len(result.patch) > _DIFF_SHOWN:
            parts[-1] += f"\n... ({len(result.patch) - _DIFF_SHOWN:,} more characters)"
    elif result.patch_reference is not None:
        parts.append(f"The patch has {result.patch_reference.size:,} bytes; see {result.patch_reference.path}")
    parts.append("\n".join(sum_up(result)))
    if then:
        parts.append("\n".join(then))
    sys.stdout.write("\n\n".join(parts) + "\n")
    sys.stdout.flush()


def paint_diff(patch: str) -> str:
    """A diff for the eye: what would be invisible in it, or would steer the terminal, is shown as an escape."""
    lines, in_hunk = [], False
    shorten = is_screen(sys.stdout)
    for line in show_controls(patch).rstrip("\n").split("\n"):
        in_hunk = line.startswith("@@") or (in_hunk and not line.startswith("diff --git "))
        if shorten and not in_hunk and line.startswith("index "):
            line = _HASH.sub(r"\1", line)  # noqa: PLW2901 - as git shows it
        lines.append(paint(line, _choose_colour(line, in_hunk=in_hunk), sys.stdout))
    return "\n".join(lines)


def _wrap(text: str) -> str:
    """Long lines broken between words, where the window would break them anywhere."""
    if not is_screen(sys.stdout):
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(
        line if len(line) <= width else textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def _choose_colour(line: str, *, in_hunk: bool) -> Colour | None:
    if not in_hunk:
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])  # type: ignore[return-value]
