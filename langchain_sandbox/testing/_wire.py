"""The JSON of an OpenAI-compatible server, as vLLM shapes it. Pure: turns go in, documents come out."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.testing.script import Fault, Turn

DONE = "[DONE]"
ENGINE_DIED = "EngineCore encountered an issue (scripted)."
BROKEN = '{"id": "chatcmpl-broken", "choices": [{"delta": {"content": '

_ERROR_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    429: "RateLimitError",
    500: "InternalServerError",
}
_CHARS_PER_TOKEN = 4  # a rule of thumb for English text and code
_MAX_PIECE = 16 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """One turn as the answer to one request.

    Args:
        number: The request's number, from which ids are made, so that they are the same in every test run.
        model: The served model's name.
        turn: What to say.
        prompt: The request's body, for counting tokens.
    """

    number: int | str
    model: str
    turn: Turn
    prompt: dict[str, Any]
    created: int = field(default_factory=lambda: int(time.time()))

    def completion(self) -> dict[str, Any]:
        """The whole answer, for a request that does not stream."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._pieces()) or None}
        if self.turn.get("reasoning"):
            message["reasoning_content"] = self.turn["reasoning"]
        message["tool_calls"] = self._tool_calls()
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self._finish_reason(),
            "stop_reason": None,
        }
        return self._document("chat.completion", [choice]) | {"usage": self._usage()}

    def payloads(self, fault: Fault | None = None) -> Iterator[str]:
        """What follows `data:` in each event of the stream.

        Args:
            fault: How it goes wrong; else it ends with the finish reason, the usage if the request asked for it,
                and `[DONE]`.
        """
        deltas = self._deltas()
        yield self._chunk(next(deltas))
        if fault == "malformed":
            yield BROKEN
        if fault == "error_mid_stream":
            yield json.dumps(error(500, ENGINE_DIED))
            yield DONE
            return
        for delta in deltas:
            yield self._chunk(delta)
        if fault == "cut":
            return
        yield self._chunk({}, self._finish_reason())
        if (self.prompt.get("stream_options") or {}).get("include_usage"):
            yield json.dumps(self._document("chat.completion.chunk", []) | {"usage": self._usage()})
        yield DONE

    def _deltas(self) -> Iterator[dict[str, Any]]:
        yield {"role": "assistant", "content": ""}
        if self.turn.get("reasoning"):
            yield {"reasoning_content": self.turn["reasoning"]}
        for piece in self._pieces():
            yield {"content": piece}
        for index, call in enumerate(self._tool_calls()):
            function = call["function"]
            opening = {"index": index, **call, "function": {"name": function["name"], "arguments": ""}}
            yield {"tool_calls": [opening]}
            for piece in _halves(function["arguments"]):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}

    def _pieces(self) -> list[str]:
        text = self.turn.get("text", "")
        return [piece for piece in ([text] if isinstance(text, str) else text) if piece]

    def _tool_calls(self) -> list[dict[str, Any]]:
        return [
            {
                "id": call.get("id", f"call_{self.number}_{index}"),
                "type": "function",
                "function": {
                    "name": call["name"],
                    "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
                },
            }
            for index, call in enumerate(self.turn.get("tool_calls", ()))
            for arguments in [call["arguments"]]
        ]

    def _finish_reason(self) -> str:
        return self.turn.get("finish_reason", "tool_calls" if self.turn.get("tool_calls") else "stop")

    def _usage(self) -> dict[str, int]:
        said = [self.turn.get("reasoning", ""), *self._pieces()]
        said += [call["function"]["name"] + call["function"]["arguments"] for call in self._tool_calls()]
        usage = self.turn.get("usage") or {
            "prompt_tokens": _tokens(json.dumps([self.prompt.get("messages"), self.prompt.get("tools")])),
            "completion_tokens": _tokens("".join(said)),
        }
        prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return json.dumps(self._document("chat.completion.chunk", [choice]))

    def _document(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.number}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def models(name: str, context_length: int) -> dict[str, Any]:
    """What `/v1/models` says of a server with one model; `context_length` is in tokens."""
    model = {
        "id": name,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "vllm",
        "root": name,
        "parent": None,
        "max_model_len": context_length,
    }
    return {"object": "list", "data": [model]}


def error(status: int, message: str) -> dict[str, Any]:
    """An error in OpenAI's form, with vLLM's type for the HTTP status."""
    return {"error": {"message": message, "type": _ERROR_TYPES[status], "param": None, "code": status}}


def context_length_message(context_length: int, max_tokens: object) -> str:
    """What vLLM says of a prompt that is too long for `context_length` tokens.

    Clients recognise the case by these words, so they are vLLM's own.

    Args:
        context_length: The model's limit in tokens.
        max_tokens: The completion's size that the request asked for, if it did.
    """
    completion = max_tokens if isinstance(max_tokens, int) else 0
    return (
        f"This model's maximum context length is {context_length} tokens. However, you requested "
        f"{context_length + 1 + completion} tokens ({context_length + 1} in the messages, {completion} in "
        "the completion). Please reduce the length of the messages or completion."
    )


def is_title_prompt(messages: list[dict[str, Any]]) -> bool:
    """Whether this is OpenCode asking for a session's title, which it does beside the conversation."""
    return any(
        message.get("role") == "system" and "You are a title generator" in json.dumps(message.get("content"))
        for message in messages
    )


def _halves(text: str) -> Iterator[str]:
    # At least two pieces, so that every client has to put arguments together, as with a real server.
    size = min(max(1, (len(text) + 1) // 2), _MAX_PIECE)
    return (text[start : start + size] for start in range(0, len(text), size))


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)
