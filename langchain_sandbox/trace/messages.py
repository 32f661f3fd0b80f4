"""A request's messages, as OpenCode writes them for the server, as LangChain's. Never raises, whatever they hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_core.messages import BaseMessage, InvalidToolCall, ToolCall


def read_messages(messages: Iterable[object]) -> list[BaseMessage]:
    """The messages of a request; what is none is left out.

    Args:
        messages: As they came. Untrusted.
    """
    return [_read_message(message) for message in messages if isinstance(message, dict)]


def build_answer(text: str, calls: Iterable[object]) -> AIMessage:
    """A model's answer.

    Args:
        text: What it says.
        calls: The tools that it calls, with `id`, `name` and `arguments` as JSON text.
    """
    valid: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in calls:
        if not isinstance(call, dict):
            continue
        name, identity, arguments = (_read_word(call.get(key)) for key in ("name", "id", "arguments"))
        try:
            given = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            given = None
        if isinstance(given, dict):
            valid.append(tool_call(name=name, args=given, id=identity))
        else:
            invalid.append(invalid_tool_call(name=name, args=arguments, id=identity, error=None))
    return AIMessage(content=text, tool_calls=valid, invalid_tool_calls=invalid)


def _read_message(message: dict[str, Any]) -> BaseMessage:
    text = _read_content(message.get("content"))
    match message.get("role"):
        case "system" | "developer":
            return SystemMessage(text)
        case "assistant":
            calls = message.get("tool_calls")
            return build_answer(text, [_read_call(call) for call in calls] if isinstance(calls, list) else [])
        case "tool":
            return ToolMessage(text, tool_call_id=_read_word(message.get("tool_call_id")))
        case _:
            return HumanMessage(text)


def _read_call(call: object) -> dict[str, Any]:
    fields = call if isinstance(call, dict) else {}
    function = fields.get("function")
    return {"id": fields.get("id"), **(function if isinstance(function, dict) else {})}


def _read_content(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(_read_block(block) for block in content)
    return _read_word(content)


def _read_block(block: object) -> str:
    if not isinstance(block, dict):
        return _read_word(block)
    text = block.get("text")
    return text if isinstance(text, str) else f"[{_read_word(block.get('type')) or 'something'}]"


def _read_word(value: object) -> str:
    return value if isinstance(value, str) else ""
