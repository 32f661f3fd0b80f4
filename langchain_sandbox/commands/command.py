"""What a command is: its text, what it takes, how it wants to be run. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from langchain_sandbox.commands.syntax import FILE, SHELL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_sandbox.config import ChangesPolicy

ArgumentType = Literal["string", "integer", "number", "boolean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One of the things that a command takes.

    Args:
        name: Lower case letters, digits and `_`.
        type: What its values are.
        description: What it means, for the caller.
        enum: The only values that it may have; empty for any.
        default: What it is when it is not given.
        required: Whether it has to be given.
    """

    name: str
    type: ArgumentType = "string"
    description: str = ""
    enum: tuple[Any, ...] = ()
    default: Any = None
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Args:
        name: As it is called, without the slash, such as `team/deploy`.
        template: Its text, with placeholders.
        source: The file that it is from.
        digest: SHA-256 of that file's bytes, in hex.
        description: One line for people and for calling models.
        agent: The agent of OpenCode's that works on it.
        model: The model that the file names, as it names it.
        timeout: Seconds that it may take.
        changes: What is to be done with its changes. It narrows what the sandbox does, and never widens it.
        output: The JSON Schema of its answer; `None` for an answer in words.
        arguments: What it takes, in the order of `$1` to `$n`.

    Example:
        ```python
        commands, faults = load_repository_commands(Path("repository"))
        commands["refactor-audit"].arguments
        ```
    """

    name: str
    template: str
    source: str
    digest: str
    description: str = ""
    agent: str = "build"
    model: str | None = None
    timeout: float | None = None
    changes: ChangesPolicy | None = None
    output: Mapping[str, Any] | None = None
    arguments: tuple[Argument, ...] = ()

    @property
    def tool_name(self) -> str:
        """Its name as a tool, where slashes and dots are not allowed: `team-deploy`."""
        return as_tool_name(self.name)

    @property
    def shell(self) -> tuple[str, ...]:
        """The shell commands that run inside before the model is asked, with their placeholders."""
        return tuple(SHELL.findall(self.template))

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are attached to the prompt where they are there, with their placeholders."""
        names = FILE.findall(SHELL.sub("", self.template))
        return tuple(dict.fromkeys(name for name in names if name))


def as_tool_name(name: str) -> str:
    """A command's name as a tool's; two commands that have one are taken for neither."""
    return name.replace("/", "-").replace(".", "-")
