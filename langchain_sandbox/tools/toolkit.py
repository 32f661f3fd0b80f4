"""All tools that a repository gives: the free task, and each of its commands."""

from __future__ import annotations

import asyncio
import logging
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import ConfigDict, Field

from langchain_sandbox.commands.folder import load_repository_commands
from langchain_sandbox.errors import CommandError, SandboxConfigError
from langchain_sandbox.sandbox import Sandbox
from langchain_sandbox.tools.command_tool import CommandTool
from langchain_sandbox.tools.sandbox_tool import FREE, SandboxTool
from langchain_sandbox.untrusted import show_controls

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from langchain_sandbox.commands.command import Command

_logger = logging.getLogger(__name__)


class SandboxToolkit(BaseToolkit):
    """A repository's tools: `run_in_sandbox` for free tasks, then one tool for each command.

    Make it with `from_repo`. A command's file that cannot be used is passed over; `errors` says which and why.

    Args:
        tools: The tools.
        errors: What is wrong with the files that cannot be used.

    Example:
        ```python
        toolkit = SandboxToolkit.from_repo("path/to/repository", exclude=["git-*"])
        agent = create_agent(model, tools=toolkit.get_tools())
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    tools: list[BaseTool]
    errors: list[CommandError] = Field(default_factory=list)

    @classmethod
    def from_repo(
        cls,
        path: str | os.PathLike[str],
        *,
        sandbox: Sandbox | None = None,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        session_ttl: float | None = None,
    ) -> Self:
        """Read a repository's commands, and those that come with the package, and make the tools.

        Args:
            path: The repository.
            sandbox: What runs the tools; by default one from the environment, with the repository as its workspace.
            include: Which tools to make, as patterns such as `"team/*"` of the commands' or the tools' names; all of
                them by default.
            exclude: Which of those to leave out.
            session_ttl: As for `SandboxTool`: then all of these tools share the session of a thread.

        Raises:
            SandboxConfigError: If a pattern fits nothing; the message lists what there is.
        """
        commands, errors = _load(path)
        chosen = _choose({FREE: FREE, **_names(commands)}, include=include, exclude=exclude)
        sandbox = sandbox or Sandbox(workspace=path)
        tools: list[BaseTool] = [SandboxTool(sandbox=sandbox, session_ttl=session_ttl)] if FREE in chosen else []
        tools += [
            CommandTool(command=each, sandbox=sandbox, session_ttl=session_ttl)
            for name, each in commands.items()
            if name in chosen
        ]
        return cls(tools=tools, errors=errors)

    @classmethod
    async def afrom_repo(
        cls,
        path: str | os.PathLike[str],
        *,
        sandbox: Sandbox | None = None,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        session_ttl: float | None = None,
    ) -> Self:
        """As `from_repo`, without blocking the event loop, for a graph that is made in one."""
        make = partial(cls.from_repo, path, sandbox=sandbox, include=include, exclude=exclude, session_ttl=session_ttl)
        return await asyncio.to_thread(make)

    def get_tools(self) -> list[BaseTool]:
        """The tools, the one for free tasks first."""
        return list(self.tools)


def load_command_tools(
    path: str | os.PathLike[str],
    *,
    sandbox: Sandbox | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> list[CommandTool]:
    """One tool for each of a repository's commands and of those that come with the package.

    Files that cannot be used are passed over with a warning in the log; `SandboxToolkit` also keeps what is wrong.

    Args:
        path: The repository.
        sandbox: As for `SandboxToolkit.from_repo`.
        include: As for `SandboxToolkit.from_repo`.
        exclude: As for `SandboxToolkit.from_repo`.

    Raises:
        SandboxConfigError: As for `SandboxToolkit.from_repo`.
    """
    commands, _ = _load(path)
    chosen = _choose(_names(commands), include=include, exclude=exclude)
    sandbox = sandbox or Sandbox(workspace=path)
    return [CommandTool(command=each, sandbox=sandbox) for name, each in commands.items() if name in chosen]


async def aload_command_tools(
    path: str | os.PathLike[str],
    *,
    sandbox: Sandbox | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> list[CommandTool]:
    """As `load_command_tools`, without blocking the event loop."""
    return await asyncio.to_thread(load_command_tools, path, sandbox=sandbox, include=include, exclude=exclude)


def _load(path: str | os.PathLike[str]) -> tuple[dict[str, Command], list[CommandError]]:
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        msg = f"{root} is no folder; give the repository whose commands are wanted."
        raise SandboxConfigError(msg)
    commands, errors = load_repository_commands(root)
    for name, command in list(commands.items()):
        if command.tool_name == FREE:  # whoever calls the one would get the other
            reason = f"its tool would be called {FREE}, which is the one for free tasks; give the file another name"
            errors.append(CommandError(reason, command.source))
            del commands[name]
    for error in errors:
        _logger.warning("A command cannot be used: %s", show_controls(str(error)))
    return commands, errors


def _names(commands: Mapping[str, Command]) -> dict[str, str]:
    return {name: command.tool_name for name, command in commands.items()}


def _choose(names: Mapping[str, str], *, include: Sequence[str] | None, exclude: Sequence[str] | None) -> set[str]:
    """The names that are wanted.

    Args:
        names: The tools' names by the commands'.
        include: Patterns of those that are wanted; `None` for all.
        exclude: Patterns of those that are not.

    Raises:
        SandboxConfigError: If a pattern fits none of them.
    """
    wanted = set(names) if include is None else _match("include", include, names)
    return wanted - _match("exclude", exclude or (), names)


def _match(option: str, patterns: Sequence[str], names: Mapping[str, str]) -> set[str]:
    if isinstance(patterns, str):
        msg = f"{option} is a list of patterns, such as [{patterns!r}]."
        raise SandboxConfigError(msg)
    matched: set[str] = set()
    for pattern in patterns:
        wanted = pattern.removeprefix("/")
        found = {name for name, tool in names.items() if fnmatchcase(name, wanted) or fnmatchcase(tool, wanted)}
        if not found:
            msg = f"{option}: nothing is called {pattern!r}; there are {', '.join(sorted(names))}."
            raise SandboxConfigError(msg)
        matched |= found
    return matched
