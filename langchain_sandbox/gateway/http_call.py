"""One call of the model server: sent, tried again where that may help, read along, and given on piece by piece.

OpenCode tries a failing model again and again, for minutes, and takes a cut answer for one more step. So what is
worth trying again is tried here, a few times and with the clock running, and the rest is a `CallError`.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from langchain_sandbox.gateway.call import CallError, describe_silence
from langchain_sandbox.gateway.rules import MAX_ANSWER
from langchain_sandbox.gateway.sse import AnswerError, AnswerReader, Usage, parse_usage
from langchain_sandbox.gateway.turns import find_turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from langchain_sandbox.config import Limits
    from langchain_sandbox.gateway.call import ModelCall, Sink
    from langchain_sandbox.gateway.upstream import Upstream

logger = logging.getLogger(__name__)

_RETRY_DELAYS = (0.5, 2.0)
_RETRY_AFTER_CAP = 5.0
_MAX_ERROR = 64 * 1024
_CLIENT_ERROR = 400
_DENIED = {401, 403}
_BUSY = 429
_SERVER_ERROR = 500
_OVERFLOW_WORDS = (b"maximum context length", b"context_length_exceeded", b"exceeds the available context size")


class HttpCaller:
    """Calls one model server.

    Args:
        upstream: The server.
        limits: `first_byte` and `idle` bound the waiting.
    """

    def __init__(self, upstream: Upstream, limits: Limits) -> None:
        self._upstream = upstream
        self._limits = limits
        self._client = upstream.client()
        self._turns = find_turns(upstream.server)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def call(self, body: dict[str, Any], call: ModelCall, sink: Sink) -> None:
        """Make one call; `call` is filled in as it goes on.

        Raises:
            CallError: If the run cannot go on.
        """
        came = time.monotonic()
        async with self._turns.one(most=self._upstream.max_concurrency):
            call.waited = time.monotonic() - came
            await self._call(body, call, sink)

    async def _call(self, body: dict[str, Any], call: ModelCall, sink: Sink) -> None:
        content = json.dumps({**body, "model": self._upstream.model}).encode("ascii")
        response = await self._send(content, call)
        try:
            call.status = response.status_code
            if response.status_code >= _CLIENT_ERROR:
                await _give_refusal(response, call, sink)
            else:
                await self._give_answer(response, call, sink)
        except AnswerError as error:
            raise CallError(str(error), code=error.code) from error
        except (httpx.HTTPError, OSError) as error:
            msg = f"the connection to the model server broke in the middle of an answer: {error!r}"
            raise CallError(msg, code="answer_cut") from error
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def _send(self, content: bytes, call: ModelCall) -> httpx.Response:
        """Send the request, again where that may help, until there are headers worth giving on."""
        failure = CallError("", code="model_unreachable")
        for planned in (*_RETRY_DELAYS, None):
            delay = planned
            call.attempts += 1
            try:
                with anyio.fail_after(self._limits.first_byte):
                    response = await self._client.send(self._build_request(content), stream=True)
            except TimeoutError as error:
                raise describe_silence(call, self._limits, who="the model server") from error
            except (httpx.HTTPError, OSError) as error:
                msg = f"the model server went away: {str(error) or type(error).__name__}"
                failure = CallError(msg, code="model_unreachable")
            else:
                if response.status_code != _BUSY and response.status_code < _SERVER_ERROR:
                    return response
                call.status = response.status_code
                words = (await _read_some(response)).decode("utf-8", "replace")[:300]
                msg = f"the model server answered HTTP {call.status} {call.attempts} times: {words}"
                failure = CallError(msg, code=f"http_{call.status}")
                delay = _retry_after(response, planned)
            if delay is not None:
                logger.info("model call %d, attempt %d: %s", call.index, call.attempts, failure)
                await anyio.sleep(delay)
        raise failure

    def _build_request(self, content: bytes) -> httpx.Request:
        return self._client.build_request(
            "POST",
            f"{self._upstream.url}/chat/completions",
            content=content,
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(None, connect=5.0),
            extensions=self._upstream.extensions,
        )

    async def _give_answer(self, response: httpx.Response, call: ModelCall, sink: Sink) -> None:
        content_type = response.headers.get("content-type", "application/json")
        reader = AnswerReader() if content_type.startswith("text/event-stream") else _WholeReader()
        size = 0
        async for piece in self._pieces(response, call):
            size += len(piece)
            if size > MAX_ANSWER:
                msg = f"the model server's answer passed {MAX_ANSWER} bytes"
                raise CallError(msg, code="answer_too_long")
            valid = reader.feed(piece)
            if call.first_byte is None:
                call.first_byte = time.monotonic() - call.started
                sink.begin(response.status_code, content_type)
            if valid:
                await self._give(valid, sink)
        reader.finish()
        call.usage, call.finish_reason = reader.usage, reader.finish_reason
        sink.end()

    async def _give(self, data: bytes, sink: Sink) -> None:
        """Give a piece on. Who does not take it for long is left: others may wait for the turn."""
        try:
            with anyio.fail_after(self._limits.idle):
                await sink.write(data)
        except TimeoutError as error:
            msg = f"the container did not take the model's answer for {self._limits.idle:g} s (Limits.idle)"
            raise CallError(msg, code="answer_not_taken") from error

    async def _pieces(self, response: httpx.Response, call: ModelCall) -> AsyncIterator[bytes]:
        """The answer's bytes, as long as they keep coming."""
        pieces = aiter(response.aiter_raw())
        while True:
            limit = self._limits.first_byte if call.first_byte is None else self._limits.idle
            piece: bytes | None = None
            with anyio.move_on_after(limit):
                piece = await anext(pieces, b"")
            if piece is None:
                raise describe_silence(call, self._limits, who="the model server")
            if not piece:
                return
            yield piece


async def _give_refusal(response: httpx.Response, call: ModelCall, sink: Sink) -> None:
    """Give on a refusal that trying again will not change; OpenCode may know what to do about it."""
    body = await _read_some(response)
    if response.status_code in _DENIED:
        words = body.decode("utf-8", "replace")[:300]
        msg = f"the model server refused the key with HTTP {response.status_code}: {words}"
        raise CallError(msg, code=f"http_{response.status_code}")
    call.overflow = any(phrase in body for phrase in _OVERFLOW_WORDS)
    call.error = "context_overflow" if call.overflow else f"http_{response.status_code}"
    sink.begin(response.status_code, response.headers.get("content-type", "application/json"))
    await sink.write(body)
    sink.end()


class _WholeReader:
    """Stands in for an `AnswerReader` where the answer is one JSON object."""

    def __init__(self) -> None:
        self._body = bytearray()
        self.usage = Usage()
        self.finish_reason: str | None = None

    def feed(self, data: bytes) -> bytes:
        self._body += data
        return data

    def finish(self) -> None:
        try:
            answer = json.loads(bytes(self._body))
            self.usage = parse_usage(answer.get("usage") or {})
            reason = answer["choices"][0].get("finish_reason")
            self.finish_reason = reason if isinstance(reason, str) else None
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            msg = "the model server's answer is not a chat completion"
            raise AnswerError(msg, code="malformed_answer") from error


async def _read_some(response: httpx.Response) -> bytes:
    """The beginning of an error's body, then close."""
    body = b""
    try:
        with anyio.move_on_after(5.0):
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > _MAX_ERROR:
                    break
    finally:
        with anyio.CancelScope(shield=True):
            await response.aclose()
    return body


def _retry_after(response: httpx.Response, delay: float | None) -> float | None:
    text = response.headers.get("retry-after", "")
    if delay is None or not text.isdigit():
        return delay
    return min(float(text), _RETRY_AFTER_CAP)
