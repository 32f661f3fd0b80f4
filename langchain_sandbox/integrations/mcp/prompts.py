"""A repository's commands as prompts: what a user types becomes a request to call the command's tool. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mcp_types as types

from langchain_sandbox.tools.command_tool import CommandTool, describe_command
from langchain_sandbox.tools.content import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_sandbox.tools.base import RunTool


def build_prompts(tools: Mapping[str, RunTool]) -> list[types.Prompt]:
    """One prompt for each command.

    Args:
        tools: The tools, by name.
    """
    return [_describe(tool) for tool in tools.values() if isinstance(tool, CommandTool)]


def build_prompt(tool: CommandTool, said: Mapping[str, str]) -> types.GetPromptResult:
    """What the host's model is asked to do. The command's own text is for the agent in the sandbox, not for it.

    Args:
        tool: The command's tool.
        said: The arguments, as the user has written them.

    Raises:
        pydantic.ValidationError: If the command does not take them.
    """
    given = {name: value for name, value in said.items() if value != ""}
    arguments = tool.tool_call_schema.model_validate(given)
    values: dict[str, Any] = arguments.model_dump(mode="json", by_alias=True, exclude_unset=True)
    text = (
        f"Call the tool `{tool.name}` of this MCP server, once, with these arguments: {write_json(values)}\n"
        f"It runs the command /{tool.command.name} in a sandbox. Then tell me what it answered, and whether there are "
        "changes and whether they are applied."
    )
    message = types.PromptMessage(role="user", content=types.TextContent(text=text))
    return types.GetPromptResult(description=describe_command(tool.command), messages=[message])


def _describe(tool: CommandTool) -> types.Prompt:
    arguments = [
        types.PromptArgument(name=each.name, description=_describe_values(each) or None, required=each.required)
        for each in tool.command.arguments
    ]
    return types.Prompt(
        name=tool.name,
        title=f"/{tool.command.name}",
        description=describe_command(tool.command),
        arguments=arguments,
    )


def _describe_values(argument: Any) -> str:  # noqa: ANN401 - a command's `Argument`
    allowed = f"One of {', '.join(map(str, argument.enum))}." if argument.enum else ""
    usual = "" if argument.default in {None, ""} else f"Usually {argument.default}."
    return " ".join(part for part in (argument.description, allowed, usual) if part)
