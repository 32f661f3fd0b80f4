"""A chat model's answer in OpenAI's terms: what it adds, why it ended, what it cost. Pure."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessageChunk

from langchain_sandbox.chat_model.blocks import read_calls, read_reasoning, read_text
from langchain_sandbox.gateway.sse import AnswerError, Usage, parse_usage
from langchain_sandbox.untrusted import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_core.messages import AIMessage

_PIECE = 16 * 1024  # so that no line is long, and nobody waits for all of it

# As the integrations have it from their providers, in small letters.
_REASONS = {
    "stop": {"stop", "end_turn", "stop_sequence", "completed", "complete", "eos", "eos_token"},
    "tool_calls": {"tool_calls", "tool_use", "function_call", "tool_call"},
    "length": {"length", "max_tokens", "max_output_tokens", "incomplete", "model_length"},
    "content_filter": {"content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content", "spii"},
}
_MEANING = {word: reason for reason, words in _REASONS.items() for word in words}
# These always say why an answer ended. Where they did not, it was cut.
_TELLING = {"anthropic", "google_genai", "openai"}


@dataclass(slots=True)
class _Call:
    """A call of a tool that has begun."""

    index: int
    told_id: str | None
    id: str
    has_arguments: bool = False


class AnswerTranslator:
    """Takes an answer's messages, whole or in chunks, and gives the deltas of a stream."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._places: dict[int, _Call] = {}
        self._told_reason: str | None = None
        self._provider: str | None = None
        self.usage = Usage()

    @property
    def called(self) -> bool:
        """Whether it calls a tool."""
        return bool(self._calls)

    @property
    def finish_reason(self) -> str:
        """Why it ended, for the record: the provider's own word where we do not know what it means."""
        told = self._told_reason
        return self.reason if told is None or told in _MEANING else told

    @property
    def reason(self) -> str:
        """Why it ended, in OpenAI's words.

        A word that nobody knows counts as an answer that was cut: whoever says that it is done is believed.
        """
        meaning = "stop" if self._told_reason is None else _MEANING.get(self._told_reason, "length")
        # Gemini stops to call a tool; and whoever stops for one has to have called it.
        if meaning in {"stop", "tool_calls"}:
            return "tool_calls" if self._calls else "stop"
        return meaning

    def feed(self, message: AIMessage) -> Iterator[dict[str, Any]]:
        """Take the next message and give what it adds."""
        self._read_metadata(message.response_metadata)
        if message.usage_metadata:
            self._add_usage(message.usage_metadata)
        for piece in _cut(read_reasoning(message)):
            yield {"reasoning_content": piece}
        for piece in _cut(read_text(message)):
            yield {"content": piece}
        for chunk in _find_chunks(message):
            yield from self._feed_call(chunk)

    def finish(self) -> Iterator[dict[str, Any]]:
        """Nothing more comes.

        Raises:
            AnswerError: If there should have been more.
        """
        if self._told_reason is None and self._provider in _TELLING:
            msg = "the chat model's answer ended before it was complete"
            raise AnswerError(msg, code="answer_cut")
        for call in self._calls:
            if not call.has_arguments:
                yield {"tool_calls": [{"index": call.index, "function": {"arguments": "{}"}}]}

    def _read_metadata(self, metadata: Mapping[str, Any]) -> None:
        provider = metadata.get("model_provider")
        self._provider = provider if isinstance(provider, str) else self._provider
        for key in ("finish_reason", "stop_reason", "stopReason", "done_reason", "status"):
            word = metadata.get(key)
            if isinstance(word, str) and word and word != "in_progress":
                self._told_reason = clean_text(word, 50).lower()
                return
        feedback = metadata.get("prompt_feedback")
        if isinstance(feedback, dict) and feedback.get("block_reason"):  # Gemini will not answer that at all
            self._told_reason = "content_filter"

    def _add_usage(self, told: Mapping[str, Any]) -> None:
        """Chunks tell what they add."""
        more = parse_usage({"prompt_tokens": told.get("input_tokens"), "completion_tokens": told.get("output_tokens")})
        self.usage.prompt_tokens += more.prompt_tokens
        self.usage.completion_tokens += more.completion_tokens

    def _feed_call(self, chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        call = self._find_call(chunk)
        if call is None:
            if not chunk.get("name"):
                return  # the rest of a call that never began
            call = self._begin_call(chunk)
            opening = {"name": str(chunk["name"]), "arguments": ""}
            yield {"tool_calls": [{"index": call.index, "id": call.id, "type": "function", "function": opening}]}
        for piece in _cut(chunk.get("args") or ""):
            call.has_arguments = True
            yield {"tool_calls": [{"index": call.index, "function": {"arguments": piece}}]}

    def _find_call(self, chunk: Mapping[str, Any]) -> _Call | None:
        """The call that a chunk goes on with, or nothing where it begins one."""
        place, told_id, name = chunk.get("index"), chunk.get("id"), chunk.get("name")
        latest = self._calls[-1] if self._calls else None
        call = latest if place is None else self._places.get(place)
        if call is None or (told_id and told_id != call.told_id):
            return None  # some servers give all calls the same place
        return None if name and (place is None or not told_id) else call

    def _begin_call(self, chunk: Mapping[str, Any]) -> _Call:
        told_id = chunk.get("id") or None
        known = {call.id for call in self._calls}
        call_id = str(told_id) if told_id and str(told_id) not in known else f"call_{uuid.uuid4().hex[:24]}"
        call = _Call(index=len(self._calls), told_id=told_id, id=call_id)
        self._calls.append(call)
        if chunk.get("index") is not None:
            self._places[chunk["index"]] = call
        return call


def _find_chunks(message: AIMessage) -> list[Mapping[str, Any]]:
    """The calls of tools in a message; those of a whole one, each in one piece."""
    if isinstance(message, AIMessageChunk):
        return list(message.tool_call_chunks)
    told: list[Mapping[str, Any]] = [*message.tool_calls, *message.invalid_tool_calls]
    return [
        {"name": call.get("name"), "id": call.get("id"), "args": _write_arguments(call.get("args"))}
        for call in told or read_calls(message)
    ]


def _write_arguments(arguments: object) -> str:
    # What is text already is what the model wrote and nobody could read.
    return arguments if isinstance(arguments, str) else json.dumps(arguments or {}, default=str)


def _cut(text: str) -> Iterator[str]:
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
