"""What integrations raise is told apart as a server's failures are, and never with a key in it."""

import socket

import anthropic
import httpx
import openai
import pytest
from chat_models import Whole
from langchain_core.messages import AIMessage
from pydantic import Field, SecretStr

from langchain_sandbox.chat_model.failure import Failure, explain, find_secrets

REQUEST = httpx.Request("POST", "https://example.com/v1/chat/completions?key=AIzaSecretSecret")


def answer(status: int) -> httpx.Response:
    return httpx.Response(status, request=REQUEST)


def make(name: str, *bases: type[Exception], **fields: object) -> Exception:
    """An exception of a library that is not there, or of LangChain's newer classes."""
    return type(name, bases or (Exception,), fields)("its words")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


OPENAI_401 = openai.AuthenticationError("Incorrect API key", response=answer(401), body=None)
OPENAI_400 = openai.BadRequestError("maximum context length is 8192 tokens", response=answer(400), body=None)
ANTHROPIC_400 = anthropic.BadRequestError("prompt is too long: 9 tokens > 8", response=answer(400), body=None)
BOTO = make("ClientError", response={"ResponseMetadata": {"HTTPStatusCode": 429}})

# exception | code before the first chunk | code in the middle of an answer
FAILURES = [
    (OPENAI_401, "http_401", "http_401"),
    (anthropic.PermissionDeniedError("no", response=answer(403), body=None), "http_403", "http_403"),
    (openai.RateLimitError("slowly", response=answer(429), body=None), "http_429", "http_429"),
    (openai.InternalServerError("oh", response=answer(503), body=None), "http_503", "http_503"),
    (openai.NotFoundError("no such model", response=answer(404), body=None), "http_404", "http_404"),
    (httpx.HTTPStatusError("no", request=REQUEST, response=answer(500)), "http_500", "http_500"),
    (BOTO, "http_429", "http_429"),
    (make("ClientError", code=403), "http_403", "http_403"),
    (make("GoogleRateLimitError", type("ModelRateLimitError", (Exception,), {})), "http_429", "http_429"),
    (OPENAI_400, "context_overflow", "http_400"),
    (ANTHROPIC_400, "context_overflow", "http_400"),
    (make("OpenAIContextOverflowError", type("ContextOverflowError", (Exception,), {})), "context_overflow", None),
    (ValueError("input token count (9) exceeds the maximum"), "context_overflow", None),
    (openai.APIConnectionError(request=REQUEST), "model_unreachable", "answer_cut"),
    (httpx.ConnectError("refused"), "model_unreachable", "answer_cut"),
    (httpx.RemoteProtocolError("peer closed connection"), "model_unreachable", "answer_cut"),
    (ConnectionRefusedError(111, "refused"), "model_unreachable", "answer_cut"),
    (socket.gaierror(-2, "unknown"), "model_unreachable", "answer_cut"),
    (caused(RuntimeError("its own"), httpx.ConnectError("refused")), "model_unreachable", "answer_cut"),
    (openai.APIError("the engine died", request=REQUEST, body=None), "error_in_answer", "error_in_answer"),
    (openai.APITimeoutError(request=REQUEST), "model_timeout", "answer_stalled"),
    (httpx.ReadTimeout("slow"), "model_timeout", "answer_stalled"),
    (TimeoutError(), "model_timeout", "answer_stalled"),
    (ValueError("I cannot"), "model_exception", "model_exception"),
    (KeyError("choices"), "model_exception", "model_exception"),
    (NotImplementedError(), "model_exception", "model_exception"),
    (make("Odd", status_code="503", code=3), "model_exception", "model_exception"),
]


@pytest.mark.parametrize(("error", "before", "within"), FAILURES, ids=range(len(FAILURES)))
def test_each_failure_has_the_code_that_a_server_would_have(error: Exception, before: str, within: str | None) -> None:
    failure = explain(error, begun=False, secrets=[])
    assert failure.code == before
    assert type(error).__name__ in failure.message
    assert failure.refused == (before in {"http_404", "context_overflow"})
    assert failure.overflow == (before == "context_overflow")
    late = explain(error, begun=True, secrets=[])
    assert within in {late.code, None}
    assert not late.refused  # half of the answer is there: it cannot be taken back


def test_what_was_said_is_in_one_line_of_bounded_length() -> None:
    message = explain(ValueError("line one\n\x1b[31mline two\u202e " + "x" * 1000), begun=False, secrets=[]).message
    assert "line one [31mline two xxx" in message
    assert len(message) < 400


def test_an_exception_that_cannot_be_printed_still_has_a_name() -> None:
    error = type("Mute", (Exception,), {"__str__": lambda _: 1 / 0})()
    assert explain(error, begun=False, secrets=[]) == Failure(
        code="model_exception", message="the chat model raised an exception: Mute"
    )


def test_an_exception_whose_fields_raise_is_told_by_its_name() -> None:
    class BareError(Exception):
        @property
        def response(self) -> object:
            raise RuntimeError

    assert explain(BareError("x"), begun=False, secrets=[]).message.endswith("BareError: x")


def test_an_exception_that_is_its_own_cause_is_looked_at_once() -> None:
    error = ValueError("round")
    error.__cause__ = error
    assert explain(error, begun=False, secrets=[]).code == "model_exception"


def test_keys_are_taken_out_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    class Keyed(Whole):
        own_token: str = "own-token-value"
        headers: dict[str, str] = Field({"X-Api-Key": "header-value", "Accept": "application/json"})

        @property
        def lc_secrets(self) -> dict[str, str]:
            return {"api_key": "A_MODELS_KEY"}

    monkeypatch.setenv("A_MODELS_KEY", "environment-value")
    model = Keyed(answer=lambda _: AIMessage("x"), api_key=SecretStr("field-value"))
    keys = ["field-value", "own-token-value", "header-value", "environment-value"]
    assert sorted(find_secrets(model)) == sorted(keys)
    others = [
        "Bearer abc.def-123",
        "https://ada:pass@example.com/",
        "https://example.com/?key=AIzaX&b=1",
        "sk-proj-0123456789",
    ]
    words = explain(ValueError(" ".join([*keys, *others])), begun=False, secrets=find_secrets(model)).message
    assert not [key for key in [*keys, "abc.def", "ada:pass", "AIzaX", "0123456789"] if key in words]
    assert "example.com" in words
