"""Which task was asked for: words, a file of words, or a command with its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.commands.folder import load_repository_commands
from langchain_sandbox.commands.template import parse_call, render
from langchain_sandbox.config import MAX_TASK
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

TASK_FILE = Path("/run/home/task")  # where the entrypoint puts a copy of TASK_FILE
OPERATOR_COMMANDS = Path("/run/home/.config/opencode/commands")


@dataclass(frozen=True, slots=True)
class Assigned:
    """What OpenCode is to be told.

    Args:
        text: The prompt.
        agent: The agent of OpenCode's that gets it.
        expand: Whether the prompt is a command's, whose `` !`shell` `` and `@file` are to be expanded.
    """

    text: str
    agent: str = "build"
    expand: bool = False


def read_task(environ: Mapping[str, str], task_file: Path = TASK_FILE) -> str:
    """The words of the task, byte for byte.

    Raises:
        SandboxConfigError: If there are none, too many, or they are not text.
    """
    if task_file.is_file():
        if environ.get("TASK"):
            msg = "Both TASK and TASK_FILE are set; set one of them."
            raise SandboxConfigError(msg)
        content = task_file.read_bytes()
    else:
        content = environ.get("TASK", "").encode("utf-8", "surrogateescape")
    if len(content) > MAX_TASK:
        msg = f"The task has {len(content)} bytes; at most {MAX_TASK} are taken. Put long material into the workspace."
        raise SandboxConfigError(msg)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"The task is not UTF-8 at byte {error.start}."
        raise SandboxConfigError(msg) from error
    if not text.strip() or "\0" in text:
        msg = "The task is empty, or holds a NUL. Say in plain words what the agent should do."
        raise SandboxConfigError(msg)
    return text


def assign(task: str, *, workspace: Path, operator: Path = OPERATOR_COMMANDS) -> Assigned:
    """Tell a command from plain words, and make the prompt.

    Args:
        task: The words.
        workspace: Where the repository's own commands are looked for, before the operator's and the package's.
        operator: Where the operator's are.

    Raises:
        SandboxConfigError: If it looks like a command and there is none of that name.
    """
    call = parse_call(task)
    if call is None:
        return Assigned(task)
    name, arguments = call
    commands, faults = load_repository_commands(workspace, extra=[operator])
    if name in commands:
        command = commands[name]
        return Assigned(render(command, arguments), command.agent, expand=True)
    if "/" in name:
        return Assigned(task)  # rather a path than a command
    known = ", ".join(f"/{known}" for known in sorted(commands))
    msg = f"There is no command /{name}; there are {known}."
    if faults:
        msg += f" Not usable: {'; '.join(map(str, faults[:5]))}"
    raise SandboxConfigError(msg)
