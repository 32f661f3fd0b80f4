"""What a chat model raised, as the kind of failure that it is. Pure.

Each integration raises what its provider's library does. What they have in common is looked at: an HTTP status
somewhere, LangChain's own classes where there are any, and the names that libraries give to such things.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from langchain_sandbox.untrusted import clean_text, strip_controls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.language_models import BaseChatModel

_MAX_WORDS = 300
_MAX_READ = 16 * 1024
_MAX_CAUSES = 5
_LEAST_SECRET = 4
_DENIED = {401, 403}
_BUSY = 429
_CLIENT_ERROR, _SERVER_ERROR, _LAST_ERROR = 400, 500, 599

# Names, not classes: the libraries need not be there, and older versions of LangChain have none of these.
_STATUS_OF = {
    "ModelAuthenticationError": 401,
    "ModelPermissionDeniedError": 403,
    "ModelInvalidRequestError": 400,
    "ModelNotFoundError": 404,
    "ModelRateLimitError": 429,
    "ModelAPIError": 500,
}
_SLOW = {"TimeoutError", "TimeoutException", "ModelTimeoutError", "APITimeoutError", "Timeout", "ReadTimeoutError"}
_AWAY = {
    "ConnectionError",
    "TransportError",
    "ModelConnectionError",
    "APIConnectionError",
    "EndpointConnectionError",
    "gaierror",
}
_IN_ANSWER = "APIError"  # what OpenAI's library raises without a status: the server's word amid its answer
_OVERFLOW = "ContextOverflowError"
_OVERFLOW_WORDS = re.compile(
    "maximum context length|context_length_exceeded|exceeds the available context size|prompt is too long"
    "|exceeds the context window|input token count.{0,60}exceeds|input is too long|context window exceeds",
    re.IGNORECASE,
)
_OVERFLOW_STATUS = {None, 400, 413, 422}

_SECRET_NAME = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)
_SECRETS = [
    (re.compile(r"(bearer\s+)[^\s\"',}]+", re.IGNORECASE), r"\1…"),
    (re.compile(r"([?&](?:api[_-]?)?(?:key|token)=)[^&\s\"']+", re.IGNORECASE), r"\1…"),
    (re.compile(r"(://)[^/@\s]+@"), r"\1…@"),
    (re.compile(r"\b(?:sk|pk|gsk|xai)-[\w*-]{8,}"), "…"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no answer.

    Attributes:
        code: Stable name of the reason.
        message: What happened, for people; there is no key in it.
        status: The HTTP status that the provider answered with, if it did.
        refused: Whether it was the request that was refused: OpenCode may know what to do about it.
        overflow: Whether the conversation was too long.
    """

    code: str
    message: str
    status: int | None = None
    refused: bool = False
    overflow: bool = False


def explain(error: BaseException, *, begun: bool, secrets: list[str]) -> Failure:
    """Tell what an exception means.

    Args:
        error: What the chat model raised.
        begun: Whether a part of the answer was there already.
        secrets: What must not be in the message.
    """
    words = clean_words(error, secrets)
    causes = list(_find_causes(error))
    names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    status = next((found for cause in causes if (found := _find_status(cause))), None)
    status = status or next((_STATUS_OF[name] for name in _STATUS_OF if name in names), None)
    too_long = _OVERFLOW in names or (status in _OVERFLOW_STATUS and _OVERFLOW_WORDS.search(words))
    if too_long and not begun:
        return Failure(code="context_overflow", message=words, status=status or 400, refused=True, overflow=True)
    if status is not None:
        refused = status < _SERVER_ERROR and status not in _DENIED and status != _BUSY and not begun
        return Failure(
            code=f"http_{status}",
            message=f"the chat model's provider answered with HTTP {status}: {words}",
            status=status,
            refused=refused,
        )
    if names & _SLOW:
        code = "answer_stalled" if begun else "model_timeout"
        return Failure(code=code, message=f"the chat model waited for its provider as long as it would: {words}")
    if names & _AWAY:
        if begun:
            return Failure(code="answer_cut", message=f"the chat model's answer broke off: {words}")
        return Failure(code="model_unreachable", message=f"the chat model could not reach its provider: {words}")
    code, what = "model_exception", "the chat model raised an exception"
    if _IN_ANSWER in names:
        code, what = "error_in_answer", "the chat model's provider broke its answer off"
    return Failure(code=code, message=f"{what}: {words}")


def find_secrets(model: BaseChatModel) -> list[str]:
    """The keys that a chat model has, wherever it has them.

    Args:
        model: The chat model.
    """
    variables = _get(model, "lc_secrets")
    found = {os.environ.get(str(name), "") for name in variables.values()} if isinstance(variables, dict) else set()
    for name, value in vars(model).items():
        if isinstance(value, SecretStr):
            found.add(value.get_secret_value())
        elif isinstance(value, str) and _SECRET_NAME.search(name):
            found.add(value)
        elif isinstance(value, dict):  # headers
            found |= {item for key, item in value.items() if isinstance(item, str) and _is_secret(key)}
    return sorted((secret for secret in found if len(secret) >= _LEAST_SECRET), key=len, reverse=True)


def clean_words(error: BaseException, secrets: list[str]) -> str:
    """An exception's type and words in one line of bounded length, without keys.

    Args:
        error: The exception.
        secrets: What must not be in it.
    """
    try:
        words = str(error)[:_MAX_READ]
    except Exception:  # noqa: BLE001 - it is not ours, and its name will do
        words = ""
    for secret in secrets:
        words = words.replace(secret, "…")
    for pattern, mark in _SECRETS:
        words = pattern.sub(mark, words)
    words = " ".join(strip_controls(words).split())
    name = type(error).__name__
    return clean_text(f"{name}: {words}" if words else name, _MAX_WORDS)


def _get(owner: object, name: str) -> Any:  # noqa: ANN401 - whatever is there
    """An attribute of something that is not ours, which may raise where others have nothing."""
    try:
        return getattr(owner, name, None)
    except Exception:  # noqa: BLE001 - as if it were not there
        return None


def _is_secret(name: object) -> bool:
    return isinstance(name, str) and (name.lower() == "authorization" or bool(_SECRET_NAME.search(name)))


def _find_causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it was made from."""
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


def _find_status(error: BaseException) -> int | None:
    """The HTTP status that an exception carries, wherever its library puts it."""
    response = _get(error, "response")
    if isinstance(response, dict):  # boto's
        metadata = response.get("ResponseMetadata")
        places = [metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None]
    else:
        places = [_get(response, "status_code")]
    places += [_get(error, name) for name in ("status_code", "http_status", "status", "code")]
    return next((value for value in places if type(value) is int and _CLIENT_ERROR <= value <= _LAST_ERROR), None)
