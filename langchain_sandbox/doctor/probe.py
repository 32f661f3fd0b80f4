"""One small question to a model: does it call a tool so that OpenCode can read the call?

A model writes a call as text, and the server has to make a structured call of it. vLLM does that only when it was
told to, and with which parser. Asked as OpenCode asks: streamed, and with the choice left to the model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from langchain_sandbox.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_sandbox.gateway.upstream import Upstream

_TIME_LIMIT = 40.0
_ANSWER_TOKENS = 1024  # a model that thinks first needs room for it
_SHOWN = 200
_OK = 200
_TOOL = "get_weather"
_QUESTION = f"What is the weather in Paris now? Call the tool {_TOOL} to find out; do not answer from memory."
_PARSER = (
    "Start vLLM with `--enable-auto-tool-choice --tool-call-parser PARSER`, where PARSER is the one for this model "
    "(such as hermes for Qwen2.5, qwen3_coder for Qwen3-Coder, llama3_json for Llama 3, mistral for Mistral); "
    "see docs/vllm.md."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back.

    Args:
        status: The HTTP status; `None` if there was no whole answer.
        words: The text, or what went wrong.
        tool: Name of the tool that was called.
        arguments: What it was called with, in JSON.
        finish: Why the answer ended.
    """

    status: int | None
    words: str = ""
    tool: str | None = None
    arguments: str = ""
    finish: str | None = None


async def ask_for_a_call(upstream: Upstream) -> Answer:
    """Ask a model to call a tool.

    Args:
        upstream: The model server, which has answered before.
    """
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    function = {"name": _TOOL, "description": "The weather in a city at this moment.", "parameters": parameters}
    body = {
        "model": upstream.model,
        "messages": [{"role": "user", "content": _QUESTION}],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "auto",
        "stream": True,
        "temperature": 0,
        "max_tokens": min(_ANSWER_TOKENS, upstream.output),
    }
    try:
        with anyio.fail_after(_TIME_LIMIT):
            async with upstream.client() as client:
                response = await client.post(
                    f"{upstream.url}/chat/completions", json=body, extensions=upstream.extensions, timeout=_TIME_LIMIT
                )
    except (TimeoutError, httpx.TimeoutException):
        return Answer(status=None, words=f"it was not done within {_TIME_LIMIT:g} s")
    except httpx.HTTPError as error:
        return Answer(status=None, words=str(error) or type(error).__name__)
    if response.status_code != _OK:
        return Answer(status=response.status_code, words=_read_refusal(response.text))
    return read_answer(response.text.splitlines())


def read_answer(lines: Iterable[str]) -> Answer:
    """Put a streamed answer together.

    Args:
        lines: The body's lines, as server-sent events.
    """
    words, arguments, tool, finish = "", "", None, None
    for line in lines:
        if not line.startswith("data:") or line[5:].strip() == "[DONE]":
            continue
        try:
            choices = json.loads(line[5:]).get("choices") or []
            choice: dict[str, Any] = choices[0] if choices else {}
            delta = choice.get("delta") or {}
            words += delta.get("content") or ""
            for call in delta.get("tool_calls") or []:
                function = call.get("function") or {}
                tool = tool or function.get("name")
                arguments += function.get("arguments") or ""
            finish = choice.get("finish_reason") or finish
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return Answer(status=None, words=f"it sent what is no chat completion: {line[:_SHOWN]!r}")
    return Answer(status=_OK, words=words, tool=tool, arguments=arguments, finish=finish)


def judge_answer(answer: Answer) -> Finding:
    """Say whether the model called the tool as it should.

    Args:
        answer: What came back.
    """
    words = " ".join(answer.words.split())[:_SHOWN]
    if answer.status is None:
        return Finding(
            "tool-calls", "warning", f"The model was asked to call a tool, and {words}.", "Try again when it is free."
        )
    if answer.status != _OK:
        return _judge_refusal(answer.status, words)
    if answer.tool is not None:
        return _judge_call(answer)
    if _TOOL in answer.words:
        message = (
            f"The model calls tools, but the server passes the call on as plain text ({words!r}): it needs a parser."
        )
        return Finding("tool-calls", "error", message, _PARSER)
    if answer.finish == "length":
        message = f"The model had not called the tool when its answer was cut at {_ANSWER_TOKENS} tokens."
        return Finding("tool-calls", "warning", message, "If it thinks at length before it acts, runs will be slow.")
    message = f"Asked to call a tool, the model answers in words ({words!r})."
    return Finding("tool-calls", "error", message, f"Use a model that can call tools. If it can: {_PARSER}")


def _judge_refusal(status: int, words: str) -> Finding:
    if "tool" in words.lower():
        return Finding("tool-calls", "error", f"The server refuses tools (HTTP {status}: {words}).", _PARSER)
    message = f"The server answers HTTP {status} to a chat with a tool: {words}"
    return Finding("tool-calls", "error", message, "Look at the model server's log.")


def _judge_call(answer: Answer) -> Finding:
    try:
        city = json.loads(answer.arguments)["city"]
    except (ValueError, KeyError, TypeError, RecursionError):
        message = f"The model calls {answer.tool} with broken arguments: {answer.arguments[:_SHOWN]!r}."
        return Finding("tool-calls", "error", message, f"The parser may be the wrong one. {_PARSER}")
    if answer.tool != _TOOL:
        message = f"Asked to call {_TOOL}, the model calls {answer.tool!r}."
        return Finding("tool-calls", "error", message, f"The parser may be the wrong one. {_PARSER}")
    return Finding("tool-calls", "ok", f"The model calls tools: {_TOOL}(city={city!r}).")


def _read_refusal(body: str) -> str:
    """The server's words in an error answer, which vLLM puts at different depths in different versions."""
    try:
        answer = json.loads(body)
        inner = answer.get("error") or answer
        words = inner.get("message") if isinstance(inner, dict) else inner
    except (ValueError, AttributeError, RecursionError):
        words = None
    return words if isinstance(words, str) else body[: 5 * _SHOWN]
