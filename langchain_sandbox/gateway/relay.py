"""Relays the container's model calls: one `Gateway` for each run.

OpenCode tries a failing model again and again, for minutes, and takes a cut answer for one more step. So what is
worth trying again is tried here, a few times and with the clock running, and what is not ends the run through
`on_failure`: OpenCode never gets to decide.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from langchain_sandbox.gateway.budget import Budget
from langchain_sandbox.gateway.rules import MAX_ANSWER, MAX_REQUEST, Route, route
from langchain_sandbox.gateway.sse import AnswerError, AnswerReader, Usage, parse_usage
from langchain_sandbox.link import Channel, Data, End, LinkEvent, Message, Reset

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from langchain_sandbox.config import Limits
    from langchain_sandbox.engine.connection import Connection
    from langchain_sandbox.gateway.upstream import Upstream

logger = logging.getLogger(__name__)

_RETRY_DELAYS = (0.5, 2.0)
_RETRY_AFTER_CAP = 5.0
_MAX_OVERFLOWS = 3
_MAX_STREAMS = 32
_OK = 200
_CLIENT_ERROR = 400
_DENIED = {401, 403}
_BUSY = 429
_SERVER_ERROR = 500
_OVERFLOW_WORDS = (b"maximum context length", b"context_length_exceeded", b"exceeds the available context size")


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
    error: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayFailure:
    """Why the run cannot go on; `code` is stable, `message` is for people."""

    code: str
    message: str


class _CallFailed(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.failure = GatewayFailure(code, message)


@dataclass(slots=True)
class _Exchange:
    """A request on its way in, then its answer on the way out."""

    head: dict[str, Any]
    body: bytearray = field(default_factory=bytearray)
    scope: anyio.CancelScope | None = None
    gone: bool = False


class Gateway:
    """Answers the MODEL channel of one run.

    Args:
        upstream: The model server.
        limits: Budgets and time limits.
        tasks: Where calls run; they end with it.
        on_call: Told of each call when it has ended.
        on_failure: Told once why the run cannot go on.
    """

    def __init__(
        self,
        *,
        upstream: Upstream,
        limits: Limits,
        tasks: TaskGroup,
        on_call: Callable[[ModelCall], None],
        on_failure: Callable[[GatewayFailure], None],
    ) -> None:
        self._upstream = upstream
        self._limits = limits
        self._tasks = tasks
        self._on_call = on_call
        self._on_failure = on_failure
        self._client = upstream.client()
        self._link: Connection | None = None
        self._exchanges: dict[int, _Exchange] = {}
        self._overflows = 0
        self.budget = Budget(limits)
        self.calls: list[ModelCall] = []
        self.failure: GatewayFailure | None = None
        self.refused: list[str] = []

    def connect(self, link: Connection) -> None:
        """Say where answers go."""
        self._link = link

    async def aclose(self) -> None:
        """Close the connections to the model server."""
        await self._client.aclose()

    def on_event(self, event: LinkEvent) -> None:
        """Take what the container says on the MODEL channel; never blocks."""
        assert self._link is not None, "connect first"  # noqa: S101 - a mistake of ours, not of a caller
        exchange = self._exchanges.get(event.stream)
        match event:
            case Message(stream=stream, body=head) if exchange is None:
                if len(self._exchanges) >= _MAX_STREAMS:
                    self._refuse(stream, 429, "too many requests at once")
                else:
                    self._exchanges[stream] = _Exchange(head)
            case Data(payload=payload):
                self._link.acknowledge(event)
                if exchange is not None and len(exchange.body) + len(payload) <= MAX_REQUEST:
                    exchange.body += payload
                elif exchange is not None:
                    self._exchanges.pop(event.stream)
                    self._refuse(event.stream, 413, f"requests are limited to {MAX_REQUEST} bytes")
            case End(stream=stream) if exchange is not None:
                self._tasks.start_soon(self._serve, stream, exchange)
            case Reset(stream=stream) if exchange is not None:
                exchange.gone = True
                if exchange.scope is not None:
                    exchange.scope.cancel()
                else:
                    self._exchanges.pop(stream)
            case _:
                pass  # late words about a request that is over

    async def _serve(self, stream: int, exchange: _Exchange) -> None:
        assert self._link is not None  # noqa: S101 - as above
        with anyio.CancelScope() as exchange.scope:
            if not exchange.gone:
                await self._answer(stream, exchange)
        self._exchanges.pop(stream, None)

    async def _answer(self, stream: int, exchange: _Exchange) -> None:
        method, target = str(exchange.head.get("method")), str(exchange.head.get("target"))
        match route(method, target):
            case Route.REFUSED:
                self.refused.append(f"{method} {target}"[:200])
                self._refuse(stream, 403, "the sandbox offers POST /v1/chat/completions and GET /v1/models only")
            case Route.MODELS:
                self._reply(stream, _OK, {"object": "list", "data": [{"id": "model", "object": "model"}]})
            case Route.CHAT:
                await self._chat(stream, exchange)

    async def _chat(self, stream: int, exchange: _Exchange) -> None:
        try:
            body = json.loads(bytes(exchange.body))
            exchange.body.clear()
            if not isinstance(body, dict):
                raise TypeError  # noqa: TRY301 - both kinds of nonsense get one answer
        except (ValueError, TypeError, RecursionError):
            self._refuse(stream, 400, "the request is not a JSON object")
            return
        if self.failure is not None:
            self._refuse(stream, 400, self.failure.message)
            return
        over = self.budget.take_call()
        if over is not None:
            self._refuse(stream, 400, over)
            self._fail(GatewayFailure("budget_exceeded", over))
            return
        call = ModelCall(index=len(self.calls), started=time.monotonic())
        self.calls.append(call)
        try:
            await self._relay(stream, {**body, "model": self._upstream.model}, call)
        except _CallFailed as error:
            self._break_off(stream, call, error.failure)
        except (httpx.HTTPError, OSError) as error:
            msg = f"the connection to the model server broke in the middle of an answer: {error!r}"
            self._break_off(stream, call, GatewayFailure("answer_cut", msg))
        except anyio.get_cancelled_exc_class():
            call.error = "cancelled"
            raise
        finally:
            call.duration = time.monotonic() - call.started
            self.budget.add(call.usage)
            self._on_call(call)

    async def _relay(self, stream: int, body: dict[str, Any], call: ModelCall) -> None:
        content = json.dumps(body).encode("ascii")
        first_byte = f"the model server did not begin to answer within {self._limits.first_byte:g} s (Limits.first_byte)"
        idle = f"the model server paused for more than {self._limits.idle:g} s in an answer (Limits.idle)"
        response = await self._send(content, call, timeout_message=first_byte)
        try:
            call.status = response.status_code
            if response.status_code >= _CLIENT_ERROR:
                await self._relay_refusal(stream, response)
                return
            content_type = response.headers.get("content-type", "application/json")
            head = {"status": response.status_code, "content_type": content_type}
            reader = AnswerReader() if content_type.startswith("text/event-stream") else _WholeReader()
            pieces = response.aiter_raw().__aiter__()
            size = 0
            while True:
                limit = self._limits.first_byte if call.first_byte is None else self._limits.idle
                with anyio.move_on_after(limit) as silence:
                    piece = await anext(pieces, b"")
                if silence.cancelled_caught:
                    code = "model_timeout" if call.first_byte is None else "answer_stalled"
                    raise _CallFailed(code, first_byte if call.first_byte is None else idle)
                if not piece:
                    break
                size += len(piece)
                if size > MAX_ANSWER:
                    code, msg = "answer_too_long", f"the model server's answer passed {MAX_ANSWER} bytes"
                    raise _CallFailed(code, msg)
                valid = reader.feed(piece)
                if call.first_byte is None:
                    call.first_byte = time.monotonic() - call.started
                    self._connected.send_message(head, channel=Channel.MODEL, stream=stream)
                if valid:
                    await self._connected.send_data(valid, channel=Channel.MODEL, stream=stream)
            reader.finish()
            call.usage, call.finish_reason = reader.usage, reader.finish_reason
            self._connected.send_end(channel=Channel.MODEL, stream=stream)
            self._overflows = 0
        except AnswerError as error:
            raise _CallFailed(error.code, str(error)) from error
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def _send(self, content: bytes, call: ModelCall, *, timeout_message: str) -> httpx.Response:
        """Send the request, again where that may help, until there are headers worth giving on."""
        failure = GatewayFailure("model_unreachable", "")
        for delay in (*_RETRY_DELAYS, None):
            call.attempts += 1
            request = self._client.build_request(
                "POST",
                f"{self._upstream.url}/chat/completions",
                content=content,
                headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
                timeout=httpx.Timeout(None, connect=5.0),
                extensions=self._upstream.extensions,
            )
            try:
                with anyio.fail_after(self._limits.first_byte):
                    response = await self._client.send(request, stream=True)
            except TimeoutError as error:
                raise _CallFailed("model_timeout", timeout_message) from error
            except (httpx.HTTPError, OSError) as error:
                failure = GatewayFailure(
                    "model_unreachable", f"the model server went away: {error or type(error).__name__}"
                )
            else:
                if response.status_code != _BUSY and response.status_code < _SERVER_ERROR:
                    return response
                call.status = response.status_code
                words = (await _read_some(response)).decode("utf-8", "replace")
                message = f"the model server answered HTTP {call.status} {call.attempts} times: {words[:300]}"
                failure = GatewayFailure(f"http_{call.status}", message)
                delay = _retry_after(response, delay)  # noqa: PLW2901 - the server knows better
            if delay is not None:
                logger.info("model call %d, attempt %d: %s", call.index, call.attempts, failure.message)
                await anyio.sleep(delay)
        raise _CallFailed(failure.code, failure.message)

    async def _relay_refusal(self, stream: int, response: httpx.Response) -> None:
        """A refusal that trying again will not change: OpenCode gets to see it, unless it ends the run."""
        body = await _read_some(response)
        words = body.decode("utf-8", "replace")[:500]
        if response.status_code in _DENIED:
            msg = f"the model server refused the key with HTTP {response.status_code}: {words}"
            raise _CallFailed(f"http_{response.status_code}", msg)
        if any(phrase in body for phrase in _OVERFLOW_WORDS):
            # OpenCode answers the first of these by summing up the conversation; that may be enough.
            self._overflows += 1
            if self._overflows >= _MAX_OVERFLOWS:
                raise _CallFailed("context_overflow", f"the conversation does not fit the model's context: {words}")
        content_type = response.headers.get("content-type", "application/json")
        head = {"status": response.status_code, "content_type": content_type}
        self._connected.send_message(head, channel=Channel.MODEL, stream=stream)
        await self._connected.send_data(body, channel=Channel.MODEL, stream=stream)
        self._connected.send_end(channel=Channel.MODEL, stream=stream)

    @property
    def _connected(self) -> Connection:
        assert self._link is not None, "connect first"  # noqa: S101 - a mistake of ours, not of a caller
        return self._link

    def _break_off(self, stream: int, call: ModelCall, failure: GatewayFailure) -> None:
        call.error = failure.code
        if call.first_byte is None:
            self._refuse(stream, 400, failure.message)
        else:
            self._connected.send_reset({"reason": failure.code}, channel=Channel.MODEL, stream=stream)
        self._fail(failure)

    def _fail(self, failure: GatewayFailure) -> None:
        if self.failure is None:
            logger.warning("the run cannot go on: %s: %s", failure.code, failure.message)
            self.failure = failure
            self._on_failure(failure)

    def _refuse(self, stream: int, status: int, message: str) -> None:
        # 400 for whatever must not be tried again: OpenCode repeats everything from 429 and 500 on.
        self._reply(stream, status, {"error": {"message": message, "type": "sandbox", "code": status}})

    def _reply(self, stream: int, status: int, body: dict[str, Any]) -> None:
        link = self._connected
        link.send_message(
            {"status": status, "content_type": "application/json"}, channel=Channel.MODEL, stream=stream
        )
        self._tasks.start_soon(self._send_reply, stream, json.dumps(body).encode("ascii"))

    async def _send_reply(self, stream: int, content: bytes) -> None:
        await self._connected.send_data(content, channel=Channel.MODEL, stream=stream)
        self._connected.send_end(channel=Channel.MODEL, stream=stream)


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
            self.finish_reason = answer["choices"][0].get("finish_reason")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            code, msg = "malformed_answer", "the model server's answer is not a chat completion"
            raise AnswerError(code, msg) from error


async def _read_some(response: httpx.Response) -> bytes:
    """The beginning of an error's body, then close."""
    body = b""
    try:
        with anyio.move_on_after(5.0):
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > 64 * 1024:  # noqa: PLR2004 - nobody reads a longer error
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
