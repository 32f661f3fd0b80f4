"""OpenCode's request, which is an OpenAI chat completion's, in LangChain's words. Pure.

The request comes from the container, and this process is going to act on it. So only what is named here gets through:
an integration would fetch the address of an image from here, and a provider's own tools reach the internet.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

_DEPTH = 64
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")
_MAX_ID = 256


class QuestionError(Exception):
    """The request cannot be put to a chat model; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a chat model is asked.

    Attributes:
        messages: The conversation.
        tools: What it may call, in OpenAI's form, which every integration takes.
        tool_choice: `"any"`, or the name of the tool that it has to call; `None` leaves it to the model.
        stop: Where to end the answer.
        stream: Whether the answer is wanted piece by piece.
        include_usage: Whether the stream is to end with the count of tokens.
    """

    messages: list[BaseMessage]
    tools: list[dict[str, Any]]
    tool_choice: str | None
    stop: list[str] | None
    stream: bool
    include_usage: bool


def parse_question(body: dict[str, Any]) -> Question:
    """Read a request.

    How long an answer may be and how it is drawn (`max_tokens`, `temperature`, …) is the chat model's own business, and
    not read.

    Args:
        body: As it came.

    Raises:
        QuestionError: If something in it is not what a chat completion's request may hold.
    """
    body = _mend(body, _DEPTH)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        msg = "messages has to be a list of at least one message"
        raise QuestionError(msg)
    # A tool that is known and may not be called is something that few integrations know.
    offered = [] if body.get("tool_choice") == "none" else body.get("tools") or []
    if not isinstance(offered, list):
        msg = "tools has to be a list"
        raise QuestionError(msg)
    tools = [_parse_tool(item) for item in offered]
    options = body.get("stream_options")
    return Question(
        messages=[_parse_message(item) for item in messages],
        tools=tools,
        tool_choice=_parse_choice(body.get("tool_choice")) if tools else None,
        stop=_parse_stop(body.get("stop")),
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _parse_message(item: object) -> BaseMessage:
    if not isinstance(item, dict):
        msg = "a message has to be an object"
        raise QuestionError(msg)
    content = item.get("content")
    match item.get("role"):
        case "system" | "developer":
            return SystemMessage(content=_parse_text(content))
        case "user":
            parts: str | list[Any] = _parse_parts(content) if isinstance(content, list) else _parse_text(content)
            return HumanMessage(content=parts)
        case "assistant":
            calls = item.get("tool_calls") or []
            if not isinstance(calls, list):
                msg = "tool_calls has to be a list"
                raise QuestionError(msg)
            return AIMessage(content=_parse_text(content), tool_calls=[_parse_call(call) for call in calls])
        case "tool":
            return ToolMessage(content=_parse_text(content), tool_call_id=_parse_id(item.get("tool_call_id")))
        case role:
            msg = f"a message's role has to be system, user, assistant or tool, not {role!r:.50}"
            raise QuestionError(msg)


def _parse_text(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = _parse_parts(content)
    if any(part["type"] != "text" for part in parts):
        msg = "only what the user says can hold images"
        raise QuestionError(msg)
    return "\n".join(str(part["text"]) for part in parts)


def _parse_parts(content: object) -> list[dict[str, Any]]:
    if not isinstance(content, list):
        msg = "a message's content has to be text or a list of parts"
        raise QuestionError(msg)
    return [_parse_part(part) for part in content]


def _parse_part(part: object) -> dict[str, Any]:
    if isinstance(part, dict):
        text, image = part.get("text"), part.get("image_url")
        if part.get("type") == "text" and isinstance(text, str):
            return {"type": "text", "text": text}
        if part.get("type") == "image_url" and isinstance(image, dict):
            address = image.get("url")
            if isinstance(address, str) and _IMAGE.fullmatch(address):
                return {"type": "image_url", "image_url": {"url": address}}
            msg = "an image has to be in the request itself (data:image/png;base64,...): nothing is fetched for it"
            raise QuestionError(msg)
    msg = "a part of a message has to be text or an image"
    raise QuestionError(msg)


def _parse_call(call: object) -> Any:  # noqa: ANN401 - a typed dictionary that langchain_core makes itself
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        msg = "a call of a tool has to be of a function"
        raise QuestionError(msg)
    name = _parse_name(function.get("name"))
    return {
        "type": "tool_call",
        "id": _parse_id(call.get("id")),
        "name": name,
        "args": _parse_arguments(function.get("arguments")),
    }


def _parse_arguments(text: object) -> dict[str, Any]:
    """What a tool was called with. A model may have written nonsense, and should see which."""
    if text is None or text == "":
        return {}
    if not isinstance(text, str):
        msg = "a call's arguments have to be text"
        raise QuestionError(msg)
    try:
        arguments = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        arguments = None
    return _mend(arguments, _DEPTH) if isinstance(arguments, dict) else {"not_valid_json": text}


def _parse_tool(item: object) -> dict[str, Any]:
    function = item.get("function") if isinstance(item, dict) and item.get("type") == "function" else None
    if not isinstance(function, dict):
        msg = "a tool has to be a function: a provider's own tools are not offered here"
        raise QuestionError(msg)
    description, parameters = function.get("description", ""), function.get("parameters", {})
    if not isinstance(description, str) or not isinstance(parameters, dict):
        msg = "a tool has a description, which is text, and parameters, which are an object"
        raise QuestionError(msg)
    # Integrations warn of this key, or choke on it.
    schema = {key: value for key, value in parameters.items() if key != "$schema"}
    return {
        "type": "function",
        "function": {
            "name": _parse_name(function.get("name")),
            "description": description,
            "parameters": schema or {"type": "object", "properties": {}},
        },
    }


def _parse_choice(choice: object) -> str | None:
    match choice:
        case None | "auto":
            return None
        case "required":
            return "any"
        case {"type": "function", "function": {"name": str() as name}}:
            return _parse_name(name)
    msg = "tool_choice has to be auto, none, required or a function"
    raise QuestionError(msg)


def _parse_stop(stop: object) -> list[str] | None:
    words = [stop] if isinstance(stop, str) else stop
    if words is None:
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        msg = "stop has to be text, or a list of texts"
        raise QuestionError(msg)
    return words or None


def _parse_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        msg = f"a tool's name has to be up to 128 letters, digits, _, . or -, not {name!r:.50}"
        raise QuestionError(msg)
    return name


def _parse_id(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID:
        msg = "a call of a tool needs an id, and so does its result"
        raise QuestionError(msg)
    return value


def _mend(value: Any, depth: int) -> Any:  # noqa: ANN401 - any JSON
    """The value with half characters replaced, which tools print and JavaScript makes, and no client can send."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        msg = f"the request is nested more than {_DEPTH} deep"
        raise QuestionError(msg)
    if isinstance(value, dict):
        return {_mend(key, 1): _mend(item, depth - 1) for key, item in value.items()}
    return [_mend(item, depth - 1) for item in value]
