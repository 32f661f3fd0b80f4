"""What is done in a call's thread: the chat model is asked, and what it says goes to the loop, word by word."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.messages import AIMessage
from langsmith import tracing_context

from langchain_sandbox.chat_model.answer import AnswerTranslator
from langchain_sandbox.chat_model.failure import Failure, explain, find_secrets
from langchain_sandbox.chat_model.handover import LeftError
from langchain_sandbox.chat_model.question import QuestionError, parse_question
from langchain_sandbox.chat_model.wire import Form, Stream, Whole
from langchain_sandbox.gateway.rules import MAX_ANSWER
from langchain_sandbox.gateway.sse import AnswerError, Usage

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_core.language_models import BaseChatModel

    from langchain_sandbox.chat_model.handover import Handover
    from langchain_sandbox.chat_model.question import Question
    from langchain_sandbox.chat_model.recall import Recall

logger = logging.getLogger(__name__)

_BAD_REQUEST = 400
_MAX_RECALLED = 1024 * 1024
_MAX_MESSAGES = 500_000  # LangChain keeps all of an answer's until its end, some 2 KiB for each, empty ones too


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the answer; an empty one is a sign of life."""

    data: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Done:
    """The answer is complete."""

    usage: Usage
    finish_reason: str


Word: TypeAlias = Piece | Done | Failure


def work(model: BaseChatModel, body: dict[str, Any], recall: Recall, handover: Handover[Word]) -> None:
    """Make a call and say how it ended, unless nobody listens.

    Args:
        model: The chat model.
        body: The request.
        recall: What the model said in the run until now.
        handover: Takes the answer; the last word is a `Done` or a `Failure`.
    """
    try:
        failure = _answer(model, body, recall, handover)
        if failure is not None:
            handover.put(failure)
    except LeftError:
        logger.debug("a call of the chat model was left")


def _answer(model: BaseChatModel, body: dict[str, Any], recall: Recall, handover: Handover[Word]) -> Failure | None:
    begun = False
    try:
        # Closed in this thread and at once, since the model's connection is in it.
        with closing(_translate(model, parse_question(body), recall)) as words:
            for word in words:
                begun = True
                handover.put(word)
    except LeftError:
        raise
    except QuestionError as error:
        return Failure(code=f"http_{_BAD_REQUEST}", message=str(error), status=_BAD_REQUEST, refused=True)
    except AnswerError as error:
        return Failure(code=error.code, message=str(error))
    except BaseException as error:  # whatever it is, it ends the call and not the thread
        logger.debug("the chat model raised", exc_info=True)
        return explain(error, begun=begun, secrets=find_secrets(model))
    return None


def _translate(model: BaseChatModel, question: Question, recall: Recall) -> Generator[Word, None, None]:
    """What the model says, in the form that was asked for."""
    form: Form = Stream(include_usage=question.include_usage) if question.stream else Whole()
    answer = AnswerTranslator()
    said: list[AIMessage] = []
    size = 0
    with closing(_ask(model, question, recall)) as messages:
        for message in messages:
            yield Piece(form.open(), form.content_type)
            for delta in answer.feed(message):
                size += len(str(delta))
                if size > MAX_ANSWER:
                    msg = f"the chat model's answer passed {MAX_ANSWER} bytes"
                    raise AnswerError(msg, code="answer_too_long")
                yield Piece(form.write(delta), form.content_type)
            said.append(message)
            if len(said) > _MAX_MESSAGES:
                msg = f"the chat model's answer passed {_MAX_MESSAGES} pieces"
                raise AnswerError(msg, code="answer_too_long")
    for delta in answer.finish():
        yield Piece(form.write(delta), form.content_type)
    if answer.called and size <= _MAX_RECALLED:
        recall.keep(said)
    yield Piece(form.finish(reason=answer.reason, usage=answer.usage), form.content_type)
    yield Done(answer.usage, answer.finish_reason)


def _ask(model: BaseChatModel, question: Question, recall: Recall) -> Generator[AIMessage, None, None]:
    """The chat model's messages. Nothing traces them but what is set on the object itself."""
    asked: Any = model
    if question.tools:
        choice = {"tool_choice": question.tool_choice} if question.tool_choice else {}
        asked = model.bind_tools(question.tools, **choice)
    with tracing_context(enabled=False):
        messages = asked.stream(recall.restore(question.messages), stop=question.stop)
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
