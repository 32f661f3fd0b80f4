"""The words that a test writes a model's part in, and the check that it wrote them right.

A script is played literally, so a misspelt key would otherwise surface far away, as a model that oddly says
nothing. `check_turn` and `check_fault` say it where the script is given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict, get_args

from langchain_sandbox.errors import SandboxConfigError

Fault = Literal[
    "http_500",
    "http_429",
    "refused",
    "hang",
    "hang_mid_stream",
    "error_mid_stream",
    "cut",
    "context_length",
    "malformed",
    "unauthorized",
]
"""How a model server can fail:

- `"http_500"`, `"http_429"`, `"unauthorized"`: an error answer with status 500, 429 or 401.
- `"context_length"`: status 400, in the words that vLLM has for a prompt that is too long.
- `"refused"`: for the whole server, nobody listens on its port; in a turn, the connection is reset instead of
  an answer.
- `"hang"`: the request is taken and never answered.
- `"hang_mid_stream"`: headers and the first chunk (without streaming: half of the answer), then silence.
- `"error_mid_stream"`: headers and the first chunk, then an error in vLLM's words and `[DONE]`, as when its engine dies
  under an answer (without streaming: status 500).
- `"cut"`: the turn's text and tool calls are streamed, but the connection closes before `finish_reason` and
  `[DONE]` (without streaming: after half of the answer).
- `"malformed"`: status 200, and the second chunk (without streaming: the answer) is broken JSON.
"""


class ToolCall(TypedDict):
    """One tool that the model calls.

    Attributes:
        name: The tool's name.
        arguments: Its arguments, or raw JSON text, which may be broken on purpose.
        id: The call's id; by default made of the request's and the call's number, such as `call_1_0`.
    """

    name: str
    arguments: dict[str, Any] | str
    id: NotRequired[str]


class Usage(TypedDict):
    """What the server says that a turn cost, in tokens."""

    prompt_tokens: int
    completion_tokens: int


class Turn(TypedDict, total=False):
    """One answer of the model. Every key may be left out.

    Attributes:
        text: What is said. A sequence is streamed piece by piece, a string as one piece.
        tool_calls: Tools to call after the text.
        usage: Token counts to report; by default a plausible count by the lengths of prompt and answer.
        delay: Seconds to wait before the answer's headers, or before the fault.
        chunk_delay: Seconds to wait between two streamed chunks.
        finish_reason: Why the answer ends; by default `"tool_calls"` with tool calls, else `"stop"`.
        fault: How the turn fails instead.
        reasoning: Thoughts, sent before the text as `reasoning_content`.

    Example:
        ```python
        turn: Turn = {
            "text": ["I will ", "write it."],
            "tool_calls": [{"name": "write", "arguments": {"filePath": "a.txt", "content": "a"}}],
            "chunk_delay": 0.01,
        }
        ```
    """

    text: str | Sequence[str]
    tool_calls: Sequence[ToolCall]
    usage: Usage
    delay: float
    chunk_delay: float
    finish_reason: str
    fault: Fault
    reasoning: str


Script = Sequence[Turn] | Callable[[list[dict[str, Any]]], Turn]
"""Turns in their order, or a function from the messages of a request to the turn that answers it."""


def check_turn(turn: object) -> None:
    """Refuse what cannot be played.

    Args:
        turn: What the test gave as a `Turn`.

    Raises:
        SandboxConfigError: If it is no dict, has an unknown key or fault, an incomplete tool call, or a value
            that JSON cannot hold.
    """
    if not isinstance(turn, Mapping):
        msg = f"A turn must be a dict such as {{'text': 'Done'}}, not {turn!r}."
        raise SandboxConfigError(msg)
    unknown = set(turn) - set(Turn.__annotations__)
    if unknown:
        msg = f"A turn has no {_words(unknown)}; it may have {_words(Turn.__annotations__)}."
        raise SandboxConfigError(msg)
    check_fault(turn.get("fault"))
    _check_text(turn.get("text", ""))
    for call in turn.get("tool_calls", ()):
        _check_tool_call(call)
    for key in ("delay", "chunk_delay"):
        if not isinstance(turn.get(key, 0), int | float) or turn.get(key, 0) < 0:
            msg = f"A turn's {key} must be a number of seconds, not {turn[key]!r}."
            raise SandboxConfigError(msg)
    if "usage" in turn and set(turn["usage"]) != set(Usage.__annotations__):
        msg = f"A turn's usage must have {_words(Usage.__annotations__)}, not {turn['usage']!r}."
        raise SandboxConfigError(msg)


def check_fault(fault: object) -> None:
    """Refuse a fault that is not one of `Fault`; `None` is none.

    Raises:
        SandboxConfigError: If there is no such fault.
    """
    if fault is not None and fault not in get_args(Fault):
        msg = f"There is no fault {fault!r}; choose one of {_words(get_args(Fault))}."
        raise SandboxConfigError(msg)


def _check_text(text: object) -> None:
    pieces = [text] if isinstance(text, str) else text
    if not isinstance(pieces, Sequence) or not all(isinstance(piece, str) for piece in pieces):
        msg = f"A turn's text must be a string or a sequence of strings, not {text!r}."
        raise SandboxConfigError(msg)


def _check_tool_call(call: object) -> None:
    if not isinstance(call, Mapping) or not {"name", "arguments"} <= set(call) <= {"name", "arguments", "id"}:
        msg = f"A tool call must look like {{'name': 'write', 'arguments': {{...}}}}, not {call!r}."
        raise SandboxConfigError(msg)
    if not isinstance(call["arguments"], dict | str):
        msg = f"A tool call's arguments must be a dict or raw JSON text, not {call['arguments']!r}."
        raise SandboxConfigError(msg)
    try:
        json.dumps(call["arguments"])
    except (TypeError, ValueError) as error:
        msg = f"The arguments of the call of {call['name']!r} cannot be written as JSON: {error}."
        raise SandboxConfigError(msg) from error


def _words(names: Sequence[str] | set[str] | Mapping[str, object]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
