"""The model that a spare warms up with: it answers by itself, so that every tool is loaded before there is a task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.config import Limits
    from langchain_sandbox.gateway.call import ModelCall, Sink

_HEAD = {"id": "warm-up", "object": "chat.completion.chunk", "created": 0, "model": "model"}
_FILE = "warm.txt"
_ANSWER = "Warm."

# The tools that most tasks use. What they leave, the program in the container removes.
_TURNS: tuple[tuple[str, dict[str, str]], ...] = (
    ("bash", {"command": "git status --short", "description": "Look"}),
    ("write", {"filePath": _FILE, "content": "cold\n"}),
    ("read", {"filePath": _FILE}),
    ("edit", {"filePath": _FILE, "oldString": "cold", "newString": "warm"}),
    ("grep", {"pattern": "warm"}),
)


class WarmUp:
    """A `ModelSource` that asks nobody.

    Args:
        context: Tokens that the model takes in all.
        output: Tokens that it may answer with.
    """

    model = "warm-up"
    provider = "sandbox"
    context_told = True
    note = None

    def __init__(self, *, context: int, output: int) -> None:
        self.context = context
        self.output = output

    def open(self, limits: Limits) -> WarmUp:  # noqa: ARG002 - it makes nobody wait
        """Ready to be called."""
        return self

    async def call(self, body: dict[str, Any], call: ModelCall, sink: Sink) -> None:
        """Have one tool after the other called, then say a word."""
        messages = body.get("messages")
        done = sum(_is_result(message) for message in messages) if isinstance(messages, list) else len(_TURNS)
        call.status = 200
        sink.begin(200, "text/event-stream")
        for event in build_answer(done):
            await sink.write(event)
        sink.end()

    async def aclose(self) -> None:
        """There is nothing to let go of."""


def build_answer(done: int) -> Iterator[bytes]:
    """The events of one answer. Pure.

    Args:
        done: How many tools were called already.
    """
    if done < len(_TURNS):
        name, arguments = _TURNS[done]
        function = {"name": name, "arguments": json.dumps(arguments)}
        delta: dict[str, Any] = {
            "tool_calls": [{"index": 0, "id": f"call_{done}", "type": "function", "function": function}]
        }
        reason = "tool_calls"
    else:
        delta, reason = {"content": _ANSWER}, "stop"
    for choice in (
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
        {"index": 0, "delta": delta, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": reason},
    ):
        yield b"data: %b\n\n" % json.dumps(_HEAD | {"choices": [choice]}).encode("ascii")
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    yield b"data: %b\n\n" % json.dumps(_HEAD | {"choices": [], "usage": usage}).encode("ascii")
    yield b"data: [DONE]\n\n"


def _is_result(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") == "tool"
