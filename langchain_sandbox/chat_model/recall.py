"""A chat model's own messages, given back to it as they were.

OpenCode speaks OpenAI's language, in which some of what a model said cannot be said: the signatures without which
Claude does not think on after a tool's result, and without which Gemini refuses its own calls. So they stay here, and
an answer that comes back in the conversation is replaced by what it was.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_core.messages import BaseMessage

_KEPT = 1000

_Key: TypeAlias = "tuple[str, ...]"


class Recall:
    """What one run's model said when it called tools."""

    def __init__(self) -> None:
        self._said: dict[_Key, AIMessage] = {}
        self._lock = threading.Lock()  # calls of one run may overlap

    def keep(self, parts: Sequence[AIMessage]) -> None:
        """Remember an answer.

        Args:
            parts: It in chunks, or as the one message that it is.
        """
        message = _join(parts)
        key = _build_key(message)
        if message is None or key is None:
            return
        with self._lock:
            self._said.pop(key, None)
            self._said[key] = message
            if len(self._said) > _KEPT:
                del self._said[next(iter(self._said))]

    def restore(self, messages: Iterable[BaseMessage]) -> list[BaseMessage]:
        """The conversation with the model's own messages in it, where they are known and say the same."""
        return [self._restore(message) for message in messages]

    def _restore(self, message: BaseMessage) -> BaseMessage:
        if not isinstance(message, AIMessage):
            return message
        key = _build_key(message)
        said = self._said.get(key) if key is not None else None
        return said if said is not None and _list_calls(said) == _list_calls(message) else message


def _join(parts: Sequence[AIMessage]) -> AIMessage | None:
    chunks = [part for part in parts if isinstance(part, AIMessageChunk)]
    if not chunks:
        return parts[-1] if parts else None
    message = message_chunk_to_message(add_ai_message_chunks(chunks[0], *chunks[1:]))
    return message if isinstance(message, AIMessage) else None


def _build_key(message: AIMessage | None) -> _Key | None:
    ids = [call.get("id") for call in message.tool_calls] if message is not None else []
    return tuple(str(item) for item in ids) if ids and all(ids) else None


def _list_calls(message: AIMessage) -> list[tuple[str, Any]]:
    return [(call["name"], call["args"]) for call in message.tool_calls]
