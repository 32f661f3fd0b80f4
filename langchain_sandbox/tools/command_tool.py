"""One repository command, such as `/refactor-audit`, as a tool of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import InstanceOf  # noqa: TC002 - pydantic reads the fields' types at run time

from langchain_sandbox.commands.command import Command  # noqa: TC001 - as above
from langchain_sandbox.tools.base import RunTool
from langchain_sandbox.tools.command_arguments import build_arguments, name_arguments
from langchain_sandbox.untrusted import strip_controls

if TYPE_CHECKING:
    from pydantic import BaseModel

MAX_DESCRIPTION = 1024
"""Characters; the most that common model servers take."""


class CommandTool(RunTool):
    """Runs one command in an ephemeral sandbox, with the arguments that its file declares.

    What runs is the command as it was loaded, whatever its file holds by then. The answer is that of `SandboxTool`;
    where the command asks for typed output, it is in the artifact's `structured`.

    `metadata` says where the command is from: `command`, `source` and `sha256` (of the file), `agent`, and what the
    sandbox will expand in its text, `shell` (commands) and `files`.

    Args:
        command: The command, as `load_commands` gives it.
        sandbox: What runs it; made from the environment by default.
        output: As for `SandboxTool`; the command's own by default.
        changes: As for `Sandbox.run`; by default the sandbox's, or less if the command says so.
        session_ttl: As for `SandboxTool`.

    Example:
        ```python
        for tool in load_command_tools("path/to/repository"):
            print(tool.name, tool.args)
        ```
    """

    command: InstanceOf[Command]

    def __init__(self, *, command: Command, **fields: Any) -> None:  # noqa: ANN401 - the fields of `RunTool`
        own = {
            "name": command.tool_name,
            "description": describe_command(command),
            "metadata": build_metadata(command),
        }
        super().__init__(command=command, **{**own, **fields})

    def _build_arguments(self) -> type[BaseModel]:
        return build_arguments(self.command)

    def _build_request(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"command": self.command, "arguments": name_arguments(self.command, arguments)}


def describe_command(command: Command) -> str:
    """What the calling model is told of a command: what calling it means, and what its file says of it."""
    means = (
        f"Runs the command /{command.name} with a coding agent on a copy of the repository in an isolated container, "
        "and returns what it did."
    )
    says = " ".join(strip_controls(command.description).split())
    text = f"{says} ({means})" if says else means
    return text if len(text) <= MAX_DESCRIPTION else f"{says[: MAX_DESCRIPTION - len(means) - 4]}… ({means})"


def build_metadata(command: Command) -> dict[str, Any]:
    """Where a command is from and what it does before the agent begins, as plain JSON data."""
    return {
        "command": command.name,
        "source": str(command.source),
        "sha256": command.digest,
        "agent": command.agent,
        "shell": list(command.shell),
        "files": list(command.files),
    }
