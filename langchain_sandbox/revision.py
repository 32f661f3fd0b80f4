"""A run that goes on from an earlier one: what somebody wants changed of it, and what the agent is told then."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_sandbox.commands.prompt import Prompt, call_command, find_command
from langchain_sandbox.commands.template import parse_call
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.report import was_cut
from langchain_sandbox.request import build_prompt, check_task
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.untrusted import strip_controls

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from langchain_sandbox.commands.command import Command

_MAX_WORDS = 4_000


@dataclass(frozen=True, slots=True)
class Revision:
    """An earlier run, and what is asked of it now.

    The new run begins with the workspace as it is, and the earlier run's changes in it. Its own patch holds both, so
    it takes the earlier one's place: apply the last result, and none before it.

    Args:
        result: What the earlier run gave back, in this process or read back from JSON.
        comment: What is to be different, in plain words; up to 4 MiB.

    Raises:
        SandboxConfigError: If the comment is empty or no text, or there is no result.

    Example:
        ```python
        result = sandbox.run("Add a function that parses prices.")
        better = sandbox.run(revision=Revision(result, "Call it parse_price, and test it."))
        sandbox.apply(better)
        ```
    """

    result: SandboxResult
    comment: str

    def __post_init__(self) -> None:
        if not isinstance(self.result, SandboxResult):
            msg = (
                f"Revision.result is what a run gave back, a SandboxResult, not {self.result!r:.100}; "
                "SandboxResult.model_validate(...) makes one of the JSON data that graphs keep."
            )
            raise SandboxConfigError(msg)
        check_task(self.comment, what="comment")


def build_revised_prompt(
    revision: Revision,
    task: str | None,
    command: str | Command | None,
    arguments: str | Mapping[str, Any] | None,
    *,
    root: Path | None,
) -> Prompt:
    """What the agent is told: the task once more, and apart from it what became of it and what is asked for now.

    Args:
        revision: The earlier run, and the comment.
        task: As for a run; with neither task nor command it is the earlier run's own.
        command: As for a run.
        arguments: As for a run.
        root: The repository whose own commands come first.

    Raises:
        SandboxConfigError: If it cannot work.
    """
    if not isinstance(revision, Revision):
        msg = f"revision= is a Revision(result, comment), not {revision!r:.100}."
        raise SandboxConfigError(msg)
    worked_on = revision.result.workspace.root
    if root is None and worked_on is not None:
        msg = f"The run {revision.result.run_id} worked on {worked_on}; say which folder to work on: workspace=..."
        raise SandboxConfigError(msg)
    if task is None and command is None:
        if arguments is not None:
            msg = "arguments= belong to command=; without one, the revision's task is the earlier run's own."
            raise SandboxConfigError(msg)
        prompt = _repeat(revision.result, root=root)
    else:
        prompt = build_prompt(task, command, arguments, root=root)
    return prompt.with_note(describe_revision(revision))


def describe_revision(revision: Revision) -> str:
    """What the agent is told of the earlier run. Pure."""
    result = revision.result
    parts = [
        "This task was worked on before, in a run of its own, and somebody who looked at the outcome wants it revised."
    ]
    if result.files:
        parts.append(
            "The changes of that run are in the working tree already: go on from there, keep what is good, and undo "
            "what is not wanted any more."
        )
    elif result.settings.changes == "discard":
        parts.append("What that run changed was dropped.")
    else:
        parts.append("That run changed no file.")
    if result.commits:
        parts.append("Its commits may be missing from the history; its files are as they were at its end.")
    if not result.ok:
        parts.append(f"It did not get to its end ({result.status}).")
    words = result.text.strip()
    if words:
        quoted = "\n".join(f"> {strip_controls(line)}" for line in words[:_MAX_WORDS].splitlines())
        parts.append(f"Its last words were:\n\n{quoted}\n")
    return f"{' '.join(parts)}\n\nWhat is asked for now:\n\n{revision.comment}"


def _repeat(result: SandboxResult, *, root: Path | None) -> Prompt:
    """The earlier run's own task or command.

    Raises:
        SandboxConfigError: If it is not known, or not all of it.
    """
    asked = result.settings.task
    if not asked.strip() or was_cut(asked):
        why = "only the beginning of its task is kept" if asked.strip() else "its task is not kept"
        msg = f"Say what the task is: of run {result.run_id} {why}."
        raise SandboxConfigError(msg)
    called = parse_call(asked) if result.receipt.command is not None else None
    if called is None:
        return Prompt(text=check_task(asked), asked=asked)
    name, words = called
    prompt = call_command(find_command(name, root=root), _read_arguments(words))
    check_task(prompt.text)
    return prompt


def _read_arguments(words: str) -> str | dict[str, Any]:
    """Arguments as they were given: values by name are kept as a JSON object."""
    try:
        values = json.loads(words) if words.startswith("{") else None
    except (ValueError, RecursionError):
        return words
    return values if isinstance(values, dict) else words
