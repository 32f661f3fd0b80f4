"""Calls a chat model: each time in a thread of its own, within a server's time limits, and unseen by tracers.

LangChain's models are used by their synchronous side, which all of them have, and which needs no event loop that its
connections would belong to. A thread cannot be stopped, so each call has one that nobody ever waits for: a model that
hangs for ever keeps neither the run from ending nor the process.
"""

from __future__ import annotations

import json
import threading
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.chat_model.asking import Done, Piece, Word, work
from langchain_sandbox.chat_model.failure import Failure
from langchain_sandbox.chat_model.handover import Handover
from langchain_sandbox.chat_model.recall import Recall
from langchain_sandbox.gateway.call import CallError, describe_silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from langchain_core.language_models import BaseChatModel

    from langchain_sandbox.config import Limits
    from langchain_sandbox.gateway.call import ModelCall, Sink

_OK = 200
_BAD_REQUEST = 400
_TOO_MANY = 429
_MAX_THREADS = 32  # of one run; those that were left and hang count too


class ChatModelCaller:
    """Makes one run's calls of a chat model.

    Args:
        model: The chat model.
        limits: `first_byte` and `idle` bound the waiting.
    """

    def __init__(self, model: BaseChatModel, limits: Limits) -> None:
        self._model = model
        self._limits = limits
        self._recall = Recall()
        self._threads: list[threading.Thread] = []

    async def aclose(self) -> None:
        """Do nothing: the chat model's connections are its maker's."""

    async def call(self, body: dict[str, Any], call: ModelCall, sink: Sink) -> None:
        """Make one call; `call` is filled in as it goes on.

        Raises:
            CallError: If the run cannot go on.
        """
        call.attempts = 1
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= _MAX_THREADS:
            await _give_refusal(_too_many(), call, sink)
            return
        handover: Handover[Word] = Handover()
        begun = False
        try:
            self._start(body, handover)
            async for word in self._words(handover, call):
                match word:
                    case Piece(data=b""):
                        pass
                    case Piece(data=data, content_type=content_type):
                        if not begun:
                            begun = True
                            sink.begin(_OK, content_type)
                        await sink.write(data)
                    case Done(usage=usage, finish_reason=reason):
                        call.status, call.usage, call.finish_reason = _OK, usage, reason
                        sink.end()
                    case Failure(refused=True) as failure:
                        await _give_refusal(failure, call, sink)
                    case Failure() as failure:
                        call.status = failure.status
                        raise CallError(failure.message, code=failure.code)
        finally:
            handover.leave()

    def _start(self, body: dict[str, Any], handover: Handover[Word]) -> None:
        # An empty context: the caller's has the callbacks of the graph around it, to which this call does not belong.
        thread = threading.Thread(
            target=Context().run,
            args=(work, self._model, body, self._recall, handover),
            name="langchain-sandbox-model",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError as error:
            msg = f"no thread could be started for the chat model: {error}"
            raise CallError(msg, code="model_exception") from error
        self._threads.append(thread)

    async def _words(self, handover: Handover[Word], call: ModelCall) -> AsyncIterator[Word]:
        """What comes from the thread, for as long as it keeps coming."""
        while True:
            limit = self._limits.first_byte if call.first_byte is None else self._limits.idle
            word: Word | None = None
            with anyio.move_on_after(limit):
                word = await handover.take()
            if word is None:
                raise describe_silence(call, self._limits, who="the chat model")
            if isinstance(word, Piece) and call.first_byte is None:
                call.first_byte = time.monotonic() - call.started
            yield word
            if not isinstance(word, Piece):
                return


def _too_many() -> Failure:
    return Failure(code=f"http_{_TOO_MANY}", message="too many requests at once", status=_TOO_MANY, refused=True)


async def _give_refusal(failure: Failure, call: ModelCall, sink: Sink) -> None:
    """Give on a refusal that trying again will not change; OpenCode may know what to do about it."""
    call.status, call.overflow, call.error = failure.status, failure.overflow, failure.code
    message, code = failure.message, "invalid_request_error"
    if failure.overflow:
        # In words that OpenCode knows: it sums up the conversation then.
        code = "context_length_exceeded"
        message = f"{code}: the conversation is longer than the model's maximum context length: {message}"
    body = {"error": {"message": message, "type": "invalid_request_error", "code": code}}
    sink.begin(failure.status or _BAD_REQUEST, "application/json")
    await sink.write(json.dumps(body).encode("ascii"))
    sink.end()
