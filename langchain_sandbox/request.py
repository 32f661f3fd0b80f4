"""What a run is asked for: checked, so that a run that begins can only fail for what it meets."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict, get_args

from langchain_sandbox.commands.command import Command
from langchain_sandbox.commands.prompt import Prompt, call_command, find_command, parse_task
from langchain_sandbox.config import MAX_TASK, ChangesPolicy, TraceLevel
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.output import Output

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from langchain_sandbox.config import Limits, ModelEndpoint
    from langchain_sandbox.egress_config import Egress
    from langchain_sandbox.gateway.call import ModelSource
    from langchain_sandbox.gateway.contents import Contents
    from langchain_sandbox.revision import Revision
    from langchain_sandbox.workspace_config import Retention, Workspace

MAX_COMMAND_TIMEOUT = 3600.0
"""Seconds that a command may claim for itself, where the sandbox's own time-out is not even longer."""

_REACH = {"discard": 0, "return": 1, "review": 1, "apply": 2}


class SessionOptions(TypedDict, total=False):
    """What can be said for one task, of a session too.

    Attributes:
        command: A command in place of a task: its name, such as `"refactor-audit"`, or a loaded one.
        arguments: The command's, by name, or as a person would write them behind its name.
        output: The typed answer that is wanted: a pydantic model, another type that pydantic can describe, or a JSON
            Schema. It comes as `result.structured`.
        timeout: As for the sandbox, for this run; seconds.
        changes: As for the sandbox, for this run.
        record: Collects what is said to the model and by it, for whoever traces the run.
        warnings: What the result is to say besides.
    """

    command: str | Command | None
    arguments: str | Mapping[str, Any] | None
    output: object
    timeout: float | None
    changes: ChangesPolicy | None
    record: Contents | None
    warnings: Sequence[str]


class RunOptions(SessionOptions, total=False):
    """What can be said for one run.

    Attributes:
        workspace: As for the sandbox, for this run.
        revision: An earlier run that this one goes on from, and what is asked of it now.
    """

    workspace: Workspace | str | os.PathLike[str] | None
    revision: Revision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Everything that one run was asked for, checked."""

    prompt: Prompt
    output: Output | None
    workspace: Workspace | None
    model: ModelEndpoint | ModelSource | None  # none where nothing inside thinks
    allow_remote_model: bool
    image: str | None
    limits: Limits
    timeout: float
    queue_timeout: float | None
    changes: ChangesPolicy
    retention: Retention
    allow_ignored_limits: bool = False
    runtime: str | None = None
    revision: Revision | None = None
    egress: Egress | None = None
    warnings: tuple[str, ...] = ()
    record: Contents | None = None
    run_id: str = field(default_factory=lambda: secrets.token_hex(6))

    @property
    def command(self) -> Command | None:
        """The command that is run, if it is one."""
        return self.prompt.command


def build_prompt(
    task: str | None,
    command: str | Command | None,
    arguments: str | Mapping[str, Any] | None,
    *,
    root: Path | None,
) -> Prompt:
    """What the agent is told.

    Args:
        task: Plain words, or a command as a person would write it.
        command: A command, or one's name, in place of a task.
        arguments: The command's.
        root: The repository whose own commands come first.

    Raises:
        SandboxConfigError: If there is not exactly one of task and command, or it cannot work.
    """
    if (task is None) == (command is None):
        msg = "Give either a task or a command: run('Fix the failing test.'), or run(command='refactor-audit')."
        raise SandboxConfigError(msg)
    if task is not None:
        if arguments is not None:
            msg = "arguments= belong to command=; write those of a task into it."
            raise SandboxConfigError(msg)
        return parse_task(check_task(task), root=root)
    found = find_command(command, root=root) if isinstance(command, str) else command
    if not isinstance(found, Command):
        msg = f"command is a command's name, or a loaded Command, not {command!r:.100}."
        raise SandboxConfigError(msg)
    if not isinstance(arguments, str | Mapping | None):
        msg = f"arguments are words, or values by name such as {{'scope': 'src'}}, not {arguments!r:.100}."
        raise SandboxConfigError(msg)
    prompt = call_command(found, arguments)
    check_task(prompt.text)
    return prompt


def choose_output(output: object, command: Command | None) -> Output | None:
    """The typed answer that is wanted: the caller's word before the command's.

    Raises:
        SandboxConfigError: If it cannot be described.
    """
    if output is not None:
        return Output.of(output)
    return Output.of(command.output) if command is not None and command.output is not None else None


def choose_changes(chosen: str | None, usual: ChangesPolicy, command: Command | None) -> ChangesPolicy:
    """What becomes of the changes.

    A command may want less than the sandbox allows and never more: its file is the repository's.

    Args:
        chosen: What the caller says, which counts.
        usual: What the sandbox does.
        command: The command, if it is one.
    """
    if chosen is not None:
        return check_changes(chosen)
    own = command.changes if command is not None else None
    return own if own is not None and _REACH[own] < _REACH[usual] else usual


def choose_usual_changes(chosen: str | None, workspace: Workspace | None, environ: Mapping[str, str]) -> ChangesPolicy:
    """What becomes of changes where nothing is said for a run: a mounted folder has them in any case.

    Args:
        chosen: What the caller says, which counts.
        workspace: The folder, if there is one.
        environ: May say it with `SANDBOX_CHANGES`.

    Raises:
        SandboxConfigError: If there is no such policy.
    """
    usual = "apply" if workspace is not None and workspace.mode == "bind" else "return"
    return check_changes(chosen or environ.get("SANDBOX_CHANGES") or usual)


def choose_timeout(chosen: float | None, usual: float, command: Command | None) -> tuple[float, list[str]]:
    """The seconds that a run may take, and what its caller should know of them.

    Args:
        chosen: What the caller says, which counts.
        usual: What the sandbox does.
        command: The command, if it is one.
    """
    if chosen is not None:
        return check_timeout("timeout", chosen), []
    own = command.timeout if command is not None else None
    if own is None:
        return usual, []
    most = max(usual, MAX_COMMAND_TIMEOUT)
    if own > most:
        return most, [f"The command asks for {own:g} s and gets {most:g} s; the caller's timeout= may give it more."]
    return own, []


def check_task(task: str, *, what: str = "task") -> str:
    """Refuse a task that could not arrive as it was written.

    Args:
        task: The words.
        what: What they are, for the message.

    Raises:
        SandboxConfigError: If it is empty, too long, or holds a NUL or half a character.
    """
    if not isinstance(task, str) or not task.strip():
        msg = f"The {what} is empty. Say in plain words what the agent should do."
        raise SandboxConfigError(msg)
    if "\0" in task:
        msg = f"The {what} holds a NUL character at position {task.index(chr(0))}; take it out."
        raise SandboxConfigError(msg)
    try:
        size = len(task.encode("utf-8"))
    except UnicodeEncodeError as error:
        msg = f"The {what} holds half of a character (a lone surrogate) at position {error.start}; take it out."
        raise SandboxConfigError(msg) from error
    if size > MAX_TASK:
        msg = f"The {what} has {size} bytes; at most {MAX_TASK} are taken. Put long material into a file."
        raise SandboxConfigError(msg)
    return task


def check_timeout(name: str, value: Any) -> float:  # noqa: ANN401 - it may come from the environment
    """A time-out in seconds.

    Args:
        name: The option's, for the message.
        value: As it was given.

    Raises:
        SandboxConfigError: If it is no positive number.
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError) as error:
        msg = f"{name} is a number of seconds, not {value!r}."
        raise SandboxConfigError(msg) from error
    if not 0 < seconds < float("inf"):
        msg = f"{name} is a positive number of seconds, not {value!r}."
        raise SandboxConfigError(msg)
    return seconds


def check_trace(value: str) -> TraceLevel:
    """How much tracers are told.

    Raises:
        SandboxConfigError: If there is no such level.
    """
    _require_one_of("trace", value, get_args(TraceLevel))
    return value  # type: ignore[return-value]


def check_changes(value: str) -> ChangesPolicy:
    """A policy for the changes.

    Raises:
        SandboxConfigError: If there is no such policy.
    """
    _require_one_of("changes", value, get_args(ChangesPolicy))
    return value  # type: ignore[return-value]


def _require_one_of(name: str, value: str, words: tuple[str, ...]) -> None:
    if value not in words:
        msg = f"{name} is one of {', '.join(words)}, not {value!r}."
        raise SandboxConfigError(msg)
