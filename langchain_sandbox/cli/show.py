"""A result on standard output: for people, or as JSON."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.cli.terminal import paint
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.untrusted import show_controls, strip_controls

if TYPE_CHECKING:
    from langchain_sandbox.cli.terminal import Colour
    from langchain_sandbox.result import SandboxResult

_DIFF_SHOWN = 64 * 1024
_FILES_SHOWN = 20


def print_json(result: SandboxResult) -> None:
    """Print the result as one line of JSON, in ASCII: it is valid in every encoding, and steers no terminal."""
    sys.stdout.write(f"{json.dumps(result.model_dump(mode='json'))}\n")
    sys.stdout.flush()


def print_result(result: SandboxResult, *, discarded: bool) -> None:
    """Print what the agent said, what changed, how it ended, and where the changes are.

    Args:
        result: What the run gave back.
        discarded: Whether changes were not to be kept.
    """
    text = strip_controls(result.text).strip()
    parts = [text] if text else []
    if result.structured is not None:
        answer = result.model_dump(mode="json", include={"structured"})["structured"]
        parts.append(show_controls(json.dumps(answer, indent=2, ensure_ascii=False)))
    if result.patch:
        parts.append(_paint_diff(result.patch[:_DIFF_SHOWN]))
        if len(result.patch) > _DIFF_SHOWN:
            parts[-1] += f"\n... ({len(result.patch) - _DIFF_SHOWN} more characters)"
    parts.append("\n".join(_sum_up(result, discarded=discarded)))
    sys.stdout.write("\n\n".join(parts) + "\n")
    sys.stdout.flush()


def _sum_up(result: SandboxResult, *, discarded: bool) -> list[str]:
    usage = result.usage
    status = paint(result.status, "green" if result.ok else "red", sys.stdout)
    message = strip_controls(f"{result.ending.message} {'' if result.ok else result.ending.hint}").strip()
    lines = [f"Status:   {status}. {message}", f"Files:    {_describe_files(result)}"]
    lines += [
        f"Tokens:   {usage.prompt_tokens} in, {usage.completion_tokens} out, in {usage.model_calls} model calls",
        f"Seconds:  {result.timings.total:.1f}",
    ]
    if discarded:
        lines.append("Changes:  discarded, as SANDBOX_CHANGES says.")
    elif result.files or result.commits:
        lines += [f"Commit:   {commit.id[:12]} {_plain(commit.subject)}" for commit in result.commits[:_FILES_SHOWN]]
        risky = [f"{_plain(file.path)} ({', '.join(file.risks)})" for file in result.files if file.risks]
        lines += [f"Look at:  {', '.join(risky[:_FILES_SHOWN])}"] if risky else []
        lines.append(f"Changes:  {_describe_changes(result)}")
    return lines


def _plain(text: str) -> str:
    return show_controls(text).replace("\n", "\\n")


def _describe_files(result: SandboxResult) -> str:
    if not result.files:
        return "none changed"
    insertions = sum(file.insertions for file in result.files)
    deletions = sum(file.deletions for file in result.files)
    names = ", ".join(_plain(file.path) for file in result.files[:_FILES_SHOWN])
    more = f", and {len(result.files) - _FILES_SHOWN} more" if len(result.files) > _FILES_SHOWN else ""
    return f"{len(result.files)} changed (+{insertions} -{deletions}): {names}{more}"


def _describe_changes(result: SandboxResult) -> str:
    if result.applied:
        return f"applied to {result.workspace.root}{', as far as the run came' if result.partial else ''}"
    kept = RunFolder.of(result.run_id).patch
    if not result.files:
        return "the commits are not applied. Run it with --apply, or apply the result with sandbox.apply(result)."
    path = result.patch_reference.path if result.patch_reference else str(kept)
    if not Path(path).exists():
        return "not applied; the diff is above."
    return f"not applied. The patch is {path}; apply it with: {build_apply_command(result.workspace.root or '.', path)}"


def build_apply_command(root: str, patch: str) -> str:
    """The command that applies a patch to a folder.

    Args:
        root: The folder that the run worked on.
        patch: The patch's file.
    """
    command = ["git", "-C", root, "apply"]
    told = subprocess.run(  # noqa: S603 - fixed words and a folder
        ["git", "-C", root, "rev-parse", "--show-prefix"],  # noqa: S607 - the user's git, wherever it is
        capture_output=True,
        text=True,
        check=False,
    )
    prefix = told.stdout.rstrip("\n")
    if prefix:
        # Below the top of a repository, git takes a patch's paths from the top, and passes over what it does not find.
        command.append(f"--directory={prefix}")
    return shlex.join([*command, patch])


def _paint_diff(patch: str) -> str:
    """A diff for the eye: what would be invisible in it, or would steer the terminal, is shown as an escape."""
    return "\n".join(paint(line, _colour(line), sys.stdout) for line in show_controls(patch).rstrip("\n").split("\n"))


def _colour(line: str) -> Colour | None:
    if line.startswith(("diff --git", "index ", "--- ", "+++ ")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])  # type: ignore[return-value]
