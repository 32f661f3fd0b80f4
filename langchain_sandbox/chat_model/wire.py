"""An answer's deltas as the bytes that an OpenAI-compatible server would send: streamed, or whole. Pure."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from langchain_sandbox.gateway.sse import Usage


class Form(Protocol):
    """A form that answers have."""

    content_type: str

    def open(self) -> bytes:
        """What comes before everything else; nothing if it was sent before."""

    def write(self, delta: dict[str, Any]) -> bytes:
        """What more there is to send."""

    def finish(self, *, reason: str, usage: Usage) -> bytes:
        """The rest of it."""


class Stream:
    """Server-sent events.

    Args:
        include_usage: Whether the last one tells the count of tokens.
    """

    content_type = "text/event-stream"

    def __init__(self, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._head = _build_head("chat.completion.chunk")
        self._open = False

    def open(self) -> bytes:
        """Who speaks."""
        if self._open:
            return b""
        self._open = True
        return self.write({"role": "assistant", "content": ""})

    def write(self, delta: dict[str, Any]) -> bytes:
        """An event."""
        return self._event(delta)

    def finish(self, *, reason: str, usage: Usage) -> bytes:
        """The last events."""
        rest = self._event({}, reason)
        if self._include_usage:
            rest += _encode(self._head | {"choices": [], "usage": _build_usage(usage)})
        return rest + b"data: [DONE]\n\n"

    def _event(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        return _encode(self._head | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


class Whole:
    """One JSON document at the end."""

    content_type = "application/json"

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._arguments: list[list[str]] = []

    def open(self) -> bytes:
        """Nothing yet."""
        return b""

    def write(self, delta: dict[str, Any]) -> bytes:
        """Nothing yet."""
        self._text.append(delta.get("content", ""))
        self._reasoning.append(delta.get("reasoning_content", ""))
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                self._calls.append(call)
                self._arguments.append([])
            self._arguments[call["index"]].append(call["function"]["arguments"])
        return b""

    def finish(self, *, reason: str, usage: Usage) -> bytes:
        """All of it."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._text) or None}
        if any(self._reasoning):
            message["reasoning_content"] = "".join(self._reasoning)
        if self._calls:
            message["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["function"]["name"], "arguments": "".join(arguments)},
                }
                for call, arguments in zip(self._calls, self._arguments, strict=True)
            ]
        choice = {"index": 0, "message": message, "finish_reason": reason}
        document = _build_head("chat.completion") | {"choices": [choice], "usage": _build_usage(usage)}
        return json.dumps(document).encode("ascii")


def _build_head(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": "model"}


def _build_usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total,
    }


def _encode(event: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(event).encode("ascii")
