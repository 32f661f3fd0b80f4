"""Relays the container's model calls: one `Gateway` for each run.

A call that fails for good ends the run through `on_failure`: OpenCode, which would try again, never gets to decide.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.gateway.budget import Budget
from langchain_sandbox.gateway.call import CallError, ModelCall
from langchain_sandbox.gateway.loops import Circles
from langchain_sandbox.gateway.rules import MAX_REQUEST, Route, route
from langchain_sandbox.link import Channel, Data, End, LinkEvent, Message, Reset
from langchain_sandbox.untrusted import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from langchain_sandbox.config import Limits
    from langchain_sandbox.engine.connection import Connection
    from langchain_sandbox.gateway.call import ModelSource, Sink
    from langchain_sandbox.gateway.contents import Contents
    from langchain_sandbox.gateway.record import CallRecord

logger = logging.getLogger(__name__)

_MAX_STREAMS = 32
_MAX_OVERFLOWS = 3
_MAX_REFUSED = 100
_OK = 200
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class GatewayFailure:
    """Why the run cannot go on; `code` is stable, `message` is for people."""

    code: str
    message: str


@dataclass(slots=True)
class _Exchange:
    """A request on its way in, then its answer on the way out."""

    head: dict[str, Any]
    body: bytearray = field(default_factory=bytearray)
    scope: anyio.CancelScope | None = None


class _StreamSink:
    """Sends one answer over the link."""

    def __init__(self, link: Connection, stream: int) -> None:
        self._link = link
        self._stream = stream
        self.begun = False

    def begin(self, status: int, content_type: str) -> None:
        self.begun = True
        head = {"status": status, "content_type": content_type}
        self._link.send_message(head, channel=Channel.MODEL, stream=self._stream)

    async def write(self, data: bytes) -> None:
        await self._link.send_data(data, channel=Channel.MODEL, stream=self._stream)

    def end(self) -> None:
        self._link.send_end(channel=Channel.MODEL, stream=self._stream)

    async def refuse(self, status: int, message: str) -> None:
        """Say no. 400 is for whatever must not be tried again: OpenCode repeats all from 429 and 500 on."""
        if self.begun:
            self._link.send_reset({"reason": message[:200]}, channel=Channel.MODEL, stream=self._stream)
        else:
            await self.reply(status, {"error": {"message": message, "type": "sandbox", "code": status}})

    async def reply(self, status: int, body: dict[str, Any]) -> None:
        """Answer from here."""
        self.begin(status, _JSON)
        await self.write(json.dumps(body).encode("ascii"))
        self.end()


class Gateway:
    """Answers the MODEL channel of one run.

    Args:
        link: Where requests come from and answers go.
        source: The model.
        limits: Budgets and time limits.
        tasks: Where calls run; they end with it.
        on_call: Told of each call when it has ended.
        on_failure: Told once why the run cannot go on.
        on_start: Told of each call when it begins, with its request.
        contents: Collects what is said; by default nobody does.
    """

    def __init__(
        self,
        *,
        link: Connection,
        source: ModelSource,
        limits: Limits,
        tasks: TaskGroup,
        on_call: Callable[[CallRecord], None],
        on_failure: Callable[[GatewayFailure], None],
        on_start: Callable[[ModelCall, dict[str, Any]], None] | None = None,
        contents: Contents | None = None,
    ) -> None:
        self._link = link
        self._tasks = tasks
        self._on_start = on_start
        self._on_call = on_call
        self._on_failure = on_failure
        self._contents = contents
        self._caller = source.open(limits)
        self._exchanges: dict[int, _Exchange] = {}
        self._overflows = 0
        self._circles = Circles(limits.repeats)
        self.budget = Budget(limits)
        self.calls: list[ModelCall] = []
        self.failure: GatewayFailure | None = None
        self.refused: list[str] = []

    @property
    def records(self) -> list[CallRecord]:
        """What there is to tell of the calls, in the order in which they began."""
        return [call.record() for call in self.calls]

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return bool(self._exchanges)

    async def aclose(self) -> None:
        """Close the connections to the model server."""
        await self._caller.aclose()

    def on_event(self, event: LinkEvent) -> None:
        """Take what the container says on the MODEL channel; never blocks."""
        exchange = self._exchanges.get(event.stream)
        match event:
            case Message(stream=stream, body=head) if exchange is None:
                if len(self._exchanges) < _MAX_STREAMS:
                    self._exchanges[stream] = _Exchange(head)
                else:
                    self._refuse_soon(stream, 429, "too many requests at once")
            case Data(stream=stream, payload=payload):
                self._link.acknowledge(event)
                if exchange is not None and len(exchange.body) + len(payload) > MAX_REQUEST:
                    del self._exchanges[stream]
                    self._refuse_soon(stream, 413, f"requests are limited to {MAX_REQUEST} bytes")
                elif exchange is not None:
                    exchange.body += payload
            case End(stream=stream) if exchange is not None and exchange.scope is None:
                exchange.scope = anyio.CancelScope()
                self._tasks.start_soon(self._serve, stream, exchange, exchange.scope)
            case Reset(stream=stream) if exchange is not None:
                self._exchanges.pop(stream)
                if exchange.scope is not None:
                    exchange.scope.cancel()
            case _:
                pass  # late words about a request that is over

    async def _serve(self, stream: int, exchange: _Exchange, scope: anyio.CancelScope) -> None:
        sink = _StreamSink(self._link, stream)
        method, target = str(exchange.head.get("method")), str(exchange.head.get("target"))
        with scope:
            match route(method, target):
                case Route.REFUSED:
                    if len(self.refused) < _MAX_REFUSED:
                        self.refused.append(clean_text(f"{method} {target}", 200))
                    await sink.refuse(403, "the sandbox offers POST /v1/chat/completions and GET /v1/models only")
                case Route.MODELS:
                    await sink.reply(_OK, {"object": "list", "data": [{"id": "model", "object": "model"}]})
                case Route.CHAT:
                    await self._chat(sink, bytes(exchange.body))
        if self._exchanges.get(stream) is exchange:
            del self._exchanges[stream]

    async def _chat(self, sink: _StreamSink, content: bytes) -> None:
        body = _parse_request(content)
        if body is None:
            await sink.refuse(400, "the request is not a JSON object")
            return
        if self.failure is not None:
            await sink.refuse(400, self.failure.message)
            return
        if (reason := self._find_reason(body)) is not None:
            self._fail(reason)
            await sink.refuse(400, reason.message)
            return
        call = ModelCall(index=len(self.calls), started=time.monotonic())
        self.calls.append(call)
        heard: Sink = sink
        if self._contents is not None:
            heard = self._contents.follow(call.index, body, sink)
        if self._on_start is not None:
            self._on_start(call, body)
        try:
            await self._caller.call(body, call, heard)
            self._count_overflow(call)
        except CallError as error:
            call.error = error.code
            self._fail(GatewayFailure(error.code, str(error)))
            await sink.refuse(400, str(error))
        except anyio.get_cancelled_exc_class():
            call.error = "cancelled"
            raise
        finally:
            call.duration = time.monotonic() - call.started
            self.budget.add(call.usage)
            self._on_call(call.record())

    def _find_reason(self, body: dict[str, Any]) -> GatewayFailure | None:
        """Why one more call makes no sense, if it does not; else it is counted."""
        circle = self._circles.hear(body.get("messages"))
        if circle is not None:
            return GatewayFailure("loop", circle)
        over = self.budget.take_call()
        return GatewayFailure("budget_exceeded", over) if over is not None else None

    def _count_overflow(self, call: ModelCall) -> None:
        """OpenCode answers the first overflow by summing up the conversation; when that does not help, it is over."""
        self._overflows = self._overflows + 1 if call.overflow else 0
        if self._overflows >= _MAX_OVERFLOWS:
            msg = "the conversation does not fit the model's context, even after it was summed up"
            self._fail(GatewayFailure("context_overflow", msg))

    def _fail(self, failure: GatewayFailure) -> None:
        if self.failure is None:
            logger.warning("the run cannot go on: %s: %s", failure.code, failure.message)
            self.failure = failure
            self._on_failure(failure)

    def _refuse_soon(self, stream: int, status: int, message: str) -> None:
        self._tasks.start_soon(_StreamSink(self._link, stream).refuse, status, message)


def _parse_request(content: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
