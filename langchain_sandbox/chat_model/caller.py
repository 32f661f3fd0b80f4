"""Calls a chat model: each time in a thread of its own, within a server's time limits, and unseen by tracers.

LangChain's models are used by their synchronous side, which all of them have, and which needs no event loop that its
connections would belong to. A thread cannot be stopped, so each call has one that nobody ever waits for: a model that
hangs for ever keeps neither the run from ending nor the process.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from langchain_core.messages import AIMessage
from langsmith import tracing_context

from langchain_sandbox.chat_model.answer import AnswerTranslator
from langchain_sandbox.chat_model.failure import Failure, explain, find_secrets
from langchain_sandbox.chat_model.handover import Handover, LeftError
from langchain_sandbox.chat_model.question import Question, QuestionError, parse_question
from langchain_sandbox.chat_model.recall import Recall
from langchain_sandbox.chat_model.wire import Form, Stream, Whole
from langchain_sandbox.gateway.call import CallError
from langchain_sandbox.gateway.rules import MAX_ANSWER
from langchain_sandbox.gateway.sse import AnswerError, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.language_models import BaseChatModel

    from langchain_sandbox.config import Limits
    from langchain_sandbox.gateway.call import ModelCall, Sink

logger = logging.getLogger(__name__)

_OK = 200
_BAD_REQUEST = 400
_TOO_MANY = 429
_MAX_THREADS = 32  # of one run; those that were left and hang count too
_MAX_RECALLED = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the answer; an empty one is a sign of life."""

    data: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class _Done:
    """The answer is complete."""

    usage: Usage
    finish_reason: str


_Word = _Piece | _Done | Failure


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
            failure = Failure(
                code=f"http_{_TOO_MANY}", message="too many requests at once", status=_TOO_MANY, refused=True
            )
            await _give_refusal(failure, call, sink)
            return
        handover: Handover[_Word] = Handover()
        begun = False
        try:
            self._start(body, handover)
            async for word in self._words(handover, call):
                match word:
                    case Failure(refused=True) as failure:
                        await _give_refusal(failure, call, sink)
                        return
                    case Failure() as failure:
                        call.status = failure.status
                        raise CallError(failure.message, code=failure.code)
                    case _Piece(data=data, content_type=content_type):
                        if call.first_byte is None:
                            call.first_byte = time.monotonic() - call.started
                        if data and not begun:
                            begun = True
                            sink.begin(_OK, content_type)
                        if data:
                            await sink.write(data)
                    case _Done(usage=usage, finish_reason=reason):
                        call.status, call.usage, call.finish_reason = _OK, usage, reason
                        sink.end()
        finally:
            handover.leave()

    def _start(self, body: dict[str, Any], handover: Handover[_Word]) -> None:
        # An empty context: the caller's has the callbacks of the graph around it, to which this call does not belong.
        work = (Context().run, self._work, body, handover)
        thread = threading.Thread(target=work[0], args=work[1:], name="langchain-sandbox-model", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            msg = f"no thread could be started for the chat model: {error}"
            raise CallError(msg, code="model_exception") from error
        self._threads.append(thread)

    async def _words(self, handover: Handover[_Word], call: ModelCall) -> AsyncIterator[_Word]:
        """What comes from the thread, for as long as it keeps coming."""
        while True:
            limit = self._limits.first_byte if call.first_byte is None else self._limits.idle
            word: _Word | None = None
            with anyio.move_on_after(limit):
                word = await handover.take()
            if word is None:
                raise self._silence(call)
            yield word
            if isinstance(word, _Done):
                return

    def _silence(self, call: ModelCall) -> CallError:
        if call.first_byte is None:
            limit = f"{self._limits.first_byte:g} s (Limits.first_byte)"
            return CallError(f"the chat model did not begin to answer within {limit}", code="model_timeout")
        limit = f"{self._limits.idle:g} s (Limits.idle)"
        return CallError(f"the chat model paused for more than {limit} in an answer", code="answer_stalled")

    # From here on, in the thread.

    def _work(self, body: dict[str, Any], handover: Handover[_Word]) -> None:
        """Make the call and say how it ended, unless nobody listens."""
        begun = False
        try:
            try:
                for word in self._answer(body):
                    begun = True
                    handover.put(word)
            except LeftError:
                raise
            except QuestionError as error:
                handover.put(
                    Failure(code=f"http_{_BAD_REQUEST}", message=str(error), status=_BAD_REQUEST, refused=True)
                )
            except AnswerError as error:
                handover.put(Failure(code=error.code, message=str(error)))
            except BaseException as error:  # whatever it is, it ends the call and not the thread
                logger.debug("the chat model raised", exc_info=True)
                handover.put(explain(error, begun=begun, secrets=find_secrets(self._model)))
        except LeftError:
            logger.debug("a call of the chat model was left")

    def _answer(self, body: dict[str, Any]) -> Iterator[_Word]:
        question = parse_question(body)
        form: Form = Stream(include_usage=question.include_usage) if question.stream else Whole()
        answer = AnswerTranslator()
        said: list[AIMessage] = []
        size = 0
        for message in self._ask(question):
            yield _Piece(form.open(), form.content_type)
            for delta in answer.feed(message):
                size += len(str(delta))
                if size > MAX_ANSWER:
                    msg = f"the chat model's answer passed {MAX_ANSWER} bytes"
                    raise AnswerError(msg, code="answer_too_long")
                yield _Piece(form.write(delta), form.content_type)
            said.append(message)
        for delta in answer.finish():
            yield _Piece(form.write(delta), form.content_type)
        if answer.called and size <= _MAX_RECALLED:
            self._recall.keep(said)
        yield _Piece(form.finish(reason=answer.reason, usage=answer.usage), form.content_type)
        yield _Done(answer.usage, answer.finish_reason)

    def _ask(self, question: Question) -> Iterator[AIMessage]:
        """The chat model's messages; it is not traced, but for what is set on the object itself."""
        model: Any = self._model
        if question.tools:
            choice = {"tool_choice": question.tool_choice} if question.tool_choice else {}
            model = model.bind_tools(question.tools, **choice)
        with tracing_context(enabled=False):
            messages = model.stream(self._recall.restore(question.messages), stop=question.stop)
            try:
                for message in messages:
                    if not isinstance(message, AIMessage):
                        msg = f"the chat model answered with a {type(message).__name__}, which is no message of its own"
                        raise AnswerError(msg, code="malformed_answer")
                    yield message
            finally:
                close = getattr(messages, "close", None)
                if close is not None:
                    close()


async def _give_refusal(failure: Failure, call: ModelCall, sink: Sink) -> None:
    """Give on a refusal that trying again will not change; OpenCode may know what to do about it."""
    call.status, call.overflow, call.error = failure.status, failure.overflow, failure.code
    message, code = failure.message, "invalid_request_error"
    if failure.overflow:
        # In words that OpenCode knows: it sums up the conversation then.
        code = "context_length_exceeded"
        message = (
            f"context_length_exceeded: the conversation is longer than the model's maximum context length: {message}"
        )
    body = {"error": {"message": message, "type": "invalid_request_error", "code": code}}
    sink.begin(failure.status or _BAD_REQUEST, "application/json")
    await sink.write(json.dumps(body).encode("ascii"))
    sink.end()
