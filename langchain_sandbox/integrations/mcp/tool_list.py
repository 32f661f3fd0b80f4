"""Our LangChain tools as the protocol describes tools. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mcp_types as types

from langchain_sandbox.integrations.mcp.answer_schema import build_output_schema
from langchain_sandbox.integrations.mcp.catalogue import APPLY_RUN
from langchain_sandbox.integrations.mcp.roots import ARGUMENT, ARGUMENT_SCHEMA
from langchain_sandbox.request import choose_changes
from langchain_sandbox.tools.command_tool import CommandTool

if TYPE_CHECKING:
    from pydantic import ValidationError

    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.tools.base import RunTool

APPLY_RUN_TOOL = types.Tool(
    name=APPLY_RUN,
    title="Apply a run's changes",
    description="Puts the changes of a completed sandbox run of this server into the workspace: all of them, or none. "
    "Look at the patch first. Changes that would run on the user's machine by themselves are refused.",
    input_schema={
        "type": "object",
        "properties": {
            "run_id": {"type": "string", "pattern": "^[0-9a-f]{12}$", "description": "The run's 12 digits."}
        },
        "required": ["run_id"],
        "additionalProperties": False,
    },
    annotations=types.ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
    ),
)
"""The way to apply changes where the host's own question to its user has to be the review."""


def build_tool(tool: RunTool, *, fixed: bool, forms: bool) -> types.Tool:
    """Describe a tool.

    Args:
        tool: The tool.
        fixed: Whether the operator has chosen the workspace, so that no call can.
        forms: Whether the client can ask its user, so that a call may end with changes that were reviewed.
    """
    changes = find_changes(tool)
    writes = changes == "apply" or (changes == "review" and forms)
    return types.Tool(
        name=tool.name,
        title=_title(tool),
        description=tool.description,
        input_schema=build_input_schema(tool, fixed=fixed),
        output_schema=build_output_schema(tool.command.output if isinstance(tool, CommandTool) else None),
        # A sandbox without a way out is a closed world. Each run is another one, whatever it was asked.
        annotations=types.ToolAnnotations(
            read_only_hint=not writes,
            destructive_hint=writes,
            idempotent_hint=False,
            open_world_hint=tool.sandbox.egress is not None,
        ),
    )


def build_input_schema(tool: RunTool, *, fixed: bool) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments.

    Args:
        tool: The tool.
        fixed: As for `build_tool`.
    """
    schema: dict[str, Any] = tool.tool_call_schema.model_json_schema()
    if not takes_workspace(tool, fixed=fixed):
        return schema
    return {**schema, "properties": {**schema.get("properties", {}), ARGUMENT: dict(ARGUMENT_SCHEMA)}}


def takes_workspace(tool: RunTool, *, fixed: bool) -> bool:
    """Whether a call may say which folder is meant; not where a command has an argument of that name itself.

    Args:
        tool: The tool.
        fixed: As for `build_tool`.
    """
    own = (field.alias or name for name, field in tool.tool_call_schema.model_fields.items())
    return not fixed and ARGUMENT not in own


def find_changes(tool: RunTool) -> ChangesPolicy:
    """What becomes of the changes of a tool's runs."""
    command = tool.command if isinstance(tool, CommandTool) else None
    return choose_changes(tool.changes, tool.sandbox.changes, command)


def describe_faults(error: ValidationError) -> str:
    """What is wrong with a call's arguments, in one line for the model.

    Args:
        error: As pydantic tells it.
    """
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{'.'.join(str(step) for step in fault['loc']) or 'arguments'}: {fault['msg']}" for fault in faults[:10]]
    return f"The arguments do not fit: {'; '.join(shown)[:2000]}."


def _title(tool: RunTool) -> str:
    return f"/{tool.command.name}" if isinstance(tool, CommandTool) else "Run a coding task in a sandbox"
