"""What was said in a model call, as LangChain's messages. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage, InvalidToolCall, ToolCall

    from langchain_sandbox.gateway.spoken import Spoken


def build_message(spoken: Spoken) -> BaseMessage:
    """A message of a request.

    Args:
        spoken: Who says what.
    """
    match spoken.role:
        case "system" | "developer":
            return SystemMessage(spoken.text)
        case "assistant":
            return build_answer(spoken)
        case "tool":
            return ToolMessage(spoken.text, tool_call_id=spoken.call_id)
        case _:
            return HumanMessage(spoken.text)


def build_answer(spoken: Spoken) -> AIMessage:
    """A model's answer. Calls whose arguments are no JSON object are among its `invalid_tool_calls`.

    Args:
        spoken: What it says, and calls.
    """
    valid: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in spoken.calls:
        try:
            given = json.loads(call.arguments or "{}")
        except (ValueError, RecursionError):
            given = None
        if isinstance(given, dict):
            valid.append(tool_call(name=call.name, args=given, id=call.id))
        else:
            invalid.append(invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=None))
    return AIMessage(content=spoken.text, tool_calls=valid, invalid_tool_calls=invalid)
