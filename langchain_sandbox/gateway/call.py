"""What a call of the model is, whoever answers it: a server over HTTP, or a chat model in this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from langchain_sandbox.gateway.record import CallRecord
from langchain_sandbox.gateway.sse import Usage
from langchain_sandbox.untrusted import clean_text

if TYPE_CHECKING:
    from langchain_sandbox.config import Limits

_MAX_REASON = 100


@dataclass(slots=True)
class ModelCall:
    """One call of the model, as the host saw it. Times are seconds."""

    index: int
    started: float
    status: int | None = None
    attempts: int = 0
    first_byte: float | None = None
    duration: float | None = None
    usage: Usage = field(default_factory=Usage)
    finish_reason: str | None = None
    overflow: bool = False
    error: str | None = None
    waited: float = 0.0

    def record(self) -> CallRecord:
        """What there is to tell of it."""
        return CallRecord(
            index=self.index,
            started=self.started,
            status=self.status,
            first_byte=None if self.first_byte is None else round(self.first_byte, 4),
            duration=round(self.duration or 0.0, 4),
            prompt_tokens=self.usage.prompt_tokens,
            completion_tokens=self.usage.completion_tokens,
            finish_reason=clean_text(self.finish_reason, _MAX_REASON) or None,
            error=self.error,
            waited=round(self.waited, 4),
        )


class CallError(Exception):
    """The call failed in a way that ends the run; `code` names how."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


def describe_silence(call: ModelCall, limits: Limits, *, who: str) -> CallError:
    """What it is when nothing came for as long as there was patience. Pure.

    Args:
        call: The call.
        limits: `first_byte` and `idle` were the patience.
        who: Did not speak.
    """
    if call.first_byte is None:
        limit = f"{limits.first_byte:g} s (Limits.first_byte)"
        return CallError(f"{who} did not begin to answer within {limit}", code="model_timeout")
    limit = f"{limits.idle:g} s (Limits.idle)"
    return CallError(f"{who} paused for more than {limit} in an answer", code="answer_stalled")


class Sink(Protocol):
    """Whoever takes the answer."""

    def begin(self, status: int, content_type: str) -> None:
        """The answer begins."""

    async def write(self, data: bytes) -> None:
        """A piece of it."""

    def end(self) -> None:
        """It is complete."""


class ModelCaller(Protocol):
    """Makes the calls of one run. Its methods are called on the portal's loop, which they never block."""

    async def call(self, body: dict[str, Any], call: ModelCall, sink: Sink) -> None:
        """Make one call and give its answer to the sink, as an OpenAI-compatible server would send it.

        Args:
            body: The request: a chat completion's, as OpenCode wrote it. Untrusted.
            call: Filled in as it goes on.
            sink: Takes the answer.

        Raises:
            CallError: If the run cannot go on.
        """

    async def aclose(self) -> None:
        """Let go of what it holds."""


class ModelSource(Protocol):
    """A model that can be used, as a run finds it before it makes a container."""

    @property
    def model(self) -> str:
        """Its name."""

    @property
    def provider(self) -> str:
        """Whose it is, in the words of LangChain's tracers."""

    @property
    def context(self) -> int:
        """Tokens that it takes in all."""

    @property
    def context_told(self) -> bool:
        """Whether it said so itself; else it is what we assume."""

    @property
    def output(self) -> int:
        """Tokens that one answer may have."""

    @property
    def note(self) -> str | None:
        """What the caller should know of the choice of the model."""

    def open(self, limits: Limits) -> ModelCaller:
        """Ready to be called.

        Args:
            limits: `first_byte` and `idle` bound the waiting.
        """
