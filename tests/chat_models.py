"""Chat models as users write them, for the tests of both kinds: each answers what it was made with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import PrivateAttr, SecretStr


class CallsTools(BaseChatModel):
    """What both kinds have: tools are bound as they come."""

    api_key: SecretStr = SecretStr("sk-never-to-be-seen")

    @property
    def _llm_type(self) -> str:
        return "test"

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any) -> Runnable[Any, Any]:
        return self.bind(tools=list(tools), tool_choice=tool_choice, **kwargs)


class Whole(CallsTools):
    """A model that does not stream.

    Args:
        answer: Gets the messages and gives the answer, or raises.
    """

    answer: Callable[[list[BaseMessage]], AIMessage]
    _asked: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    def _generate(self, messages: list[BaseMessage], *_: Any, **options: Any) -> ChatResult:
        self._asked.append({"messages": messages, **options})
        return ChatResult(generations=[ChatGeneration(message=self.answer(messages))])


class Chunks(CallsTools):
    """A model that streams.

    Args:
        answer: Gets the messages and gives the answer's chunks; it may pause between them, or raise.
    """

    answer: Callable[[list[BaseMessage]], Iterator[AIMessageChunk]]
    _asked: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, messages: list[BaseMessage], *_: Any, **options: Any) -> Iterator[ChatGenerationChunk]:
        self._asked.append({"messages": messages, **options})
        for chunk in self.answer(messages):
            yield ChatGenerationChunk(message=chunk)


def play(*answers: AIMessage) -> Callable[[list[BaseMessage]], AIMessage]:
    """One answer after the other, by how many the conversation holds already; titles and other asides get a word."""

    def answer(messages: list[BaseMessage]) -> AIMessage:
        said = sum(isinstance(message, AIMessage) for message in messages)
        return answers[said].model_copy() if said < len(answers) else AIMessage("Nothing more.")

    return answer


def call_tool(name: str, call_id: str | None = "call-1", **arguments: Any) -> AIMessage:
    """An answer that calls a tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": call_id, "type": "tool_call"}])


def hang(seconds: float = 3600) -> Any:
    """What hangs in a library does: nothing, and it cannot be interrupted."""
    time.sleep(seconds)
