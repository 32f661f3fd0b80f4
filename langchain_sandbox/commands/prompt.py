"""What OpenCode is to be told: a task's own words, or what a command becomes with its arguments."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_sandbox.commands.folder import load_repository_commands
from langchain_sandbox.commands.template import parse_call, render
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from langchain_sandbox.commands.command import Command

_FAULTS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One message for OpenCode.

    Args:
        text: Its words.
        command: The command that they are of. Only then are `` !`shell` `` and `@file` in them expanded: a task's own
            words may quote anything.
        asked: What was asked for, as a person would write it; the text where there is no command.
        note: What else the agent is told, behind the text and apart from it: nothing in it is ever expanded.
    """

    text: str
    command: Command | None = None
    asked: str = ""
    note: str = ""

    def with_note(self, note: str) -> Prompt:
        """The same, with some more that the agent is told behind the text.

        Args:
            note: That.
        """
        return replace(self, note="\n\n".join(part for part in (self.note, note) if part))

    def describe(self, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The message for the program in the container.

        Args:
            schema: JSON Schema of the answer, if a typed one is wanted.
        """
        return {
            "type": "task",
            "title": "task",
            "agent": self.command.agent if self.command else "build",
            "text": self.text,
            "expand": self.command is not None,
            "schema": schema,
            "note": self.note,
        }


def parse_task(task: str, *, root: Path | None, extra: Iterable[Path] = ()) -> Prompt:
    """Tell a command such as `/refactor-audit src` from plain words.

    Args:
        task: What was asked for.
        root: The repository whose own commands come first.
        extra: Folders with more of them, which come before the package's.

    Raises:
        SandboxConfigError: If it looks like a command, and there is none of that name or the arguments do not fit.
    """
    call = parse_call(task)
    if call is None:
        return Prompt(text=task, asked=task)
    name, arguments = call
    try:
        command = find_command(name, root=root, extra=extra)
    except SandboxConfigError:
        if "/" in name:
            return Prompt(text=task, asked=task)  # rather a path than a command
        raise
    return call_command(command, arguments)


def call_command(command: Command, arguments: str | Mapping[str, Any] | None) -> Prompt:
    """What a command becomes.

    Args:
        command: It.
        arguments: As a person would write them behind its name, or by name.

    Raises:
        SandboxConfigError: If they do not fit.
    """
    words = arguments if isinstance(arguments, str | None) else json.dumps(dict(arguments), default=str)
    return Prompt(text=render(command, arguments), command=command, asked=f"/{command.name} {words or ''}".rstrip())


def find_command(name: str, *, root: Path | None, extra: Iterable[Path] = ()) -> Command:
    """The command of a name: a repository's own before the others.

    Args:
        name: Such as `refactor-audit` or `team/deploy`; a tool's name, `team-deploy`, will do as well.
        root: The repository.
        extra: Folders with more of them, which come before the package's.

    Raises:
        SandboxConfigError: If there is none.
    """
    commands, faults = load_repository_commands(root, extra=extra)
    wanted = name.removeprefix("/")
    if wanted in commands:
        return commands[wanted]
    for command in commands.values():
        if command.tool_name == wanted:
            return command
    known = ", ".join(f"/{known}" for known in sorted(commands))
    msg = f"There is no command /{wanted}; there are {known}."
    if faults:
        faults.sort(key=lambda fault: not fault.path.endswith(f"/{wanted}.md"))
        msg += f" Not usable: {'; '.join(map(str, faults[:_FAULTS_SHOWN]))}"
    raise SandboxConfigError(msg)
