"""One connection from a container to somewhere outside: bytes both ways, counted, until it is over."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.link import STREAM_WINDOW, TAKEN_STEP, Channel, Data, End

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import SocketStream

    from langchain_sandbox.engine.connection import Connection

_IDLE_LIMIT = 300.0
_PIECE = 64 * 1024
_MAX_REASON = 200


class RefusedError(Exception):
    """It is not let through; the message says why, to whoever asks in the container too."""


@dataclass(slots=True)
class EgressRecord:
    """One attempt to get out, as the host saw it. Times are seconds.

    Args:
        host: The name that was asked for. Untrusted.
        port: The port.
        at: When, from the run's start.
        address: Where it led; `None` if nobody got that far.
        refused: Why it was not let through, or failed; `None` if it was.
        sent: Bytes that left.
        received: Bytes that came.
        seconds: How long it was open.
    """

    host: str
    port: int
    at: float
    address: str | None = None
    refused: str | None = None
    sent: int = 0
    received: int = 0
    seconds: float = 0.0

    def describe(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "seconds": round(self.seconds, 4)}


class Passage:
    """Made when the container asks for it.

    Args:
        link: Where its bytes come from and go to.
        stream: Its number there.
    """

    def __init__(self, link: Connection, stream: int) -> None:
        self.scope = anyio.CancelScope()
        """Cancelled when the container gives it up."""
        self.fault: str | None = None
        """What the container did that ended it."""
        self._link = link
        self._stream = stream
        self._coming: deque[Data | End] = deque()
        self._held = 0  # bytes in there
        self._taken = 0  # bytes that went on, and of which the container does not know yet
        self._room = STREAM_WINDOW
        self._more = anyio.Event()
        self._more_room = anyio.Event()
        self._moved = time.monotonic()

    def put(self, event: Data | End) -> None:
        """Take what the container says; never blocks."""
        if isinstance(event, Data):
            self._link.acknowledge(event)
            self._held += len(event.payload)
        if self._held > STREAM_WINDOW:
            self.fault = "it sent more than there was room for"
            self._break_off(self.fault, self.scope)
            return
        self._coming.append(event)
        self._more.set()

    def make_room(self, size: int) -> None:
        """The container has given on so many bytes of what came."""
        self._room = min(STREAM_WINDOW, self._room + max(size, 0))
        self._more_room.set()

    async def relay(self, remote: SocketStream, record: EgressRecord, *, count: Callable[[int], None]) -> None:
        """Bytes both ways, until both have ended, or one breaks.

        Args:
            remote: The other end.
            record: Filled in.
            count: Told of bytes before they go on; raises `RefusedError` where there are too many.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_after, tasks.cancel_scope, record)
            try:
                async with anyio.create_task_group() as ways:
                    ways.start_soon(self._guard, self._go_out(remote, record, count), ways.cancel_scope, record)
                    ways.start_soon(self._guard, self._come_in(remote, record, count), ways.cancel_scope, record)
            finally:
                tasks.cancel_scope.cancel()

    async def _go_out(self, remote: SocketStream, record: EgressRecord, count: Callable[[int], None]) -> None:
        while isinstance(event := await self._get(), Data):
            self._moved = time.monotonic()
            size = len(event.payload)
            count(size)
            await remote.send(event.payload)
            record.sent += size
            self._let_go(size)
        await remote.send_eof()

    async def _come_in(self, remote: SocketStream, record: EgressRecord, count: Callable[[int], None]) -> None:
        with suppress(anyio.EndOfStream):
            while True:
                piece = await remote.receive(min(_PIECE, await self._find_room()))
                self._moved = time.monotonic()
                self._room -= len(piece)
                count(len(piece))
                await self._link.send_data(piece, channel=Channel.EGRESS, stream=self._stream)
                record.received += len(piece)
        self._link.send_end(channel=Channel.EGRESS, stream=self._stream)

    async def _guard(self, way: Awaitable[None], scope: anyio.CancelScope, record: EgressRecord) -> None:
        """Go one way; where it cannot go on, the other ends, too."""
        try:
            await way
        except RefusedError as reason:
            record.refused = str(reason)
            self._break_off(str(reason), scope)
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            self._break_off(f"the connection broke: {error!r}", scope)

    async def _look_after(self, scope: anyio.CancelScope, record: EgressRecord) -> None:
        """See to it that nobody holds a connection for nothing."""
        while (left := self._moved + _IDLE_LIMIT - time.monotonic()) > 0:  # noqa: ASYNC110 - a time that moves
            await anyio.sleep(left)
        record.refused = f"nothing moved for {_IDLE_LIMIT:g} s"
        self._break_off(record.refused, scope)

    def _break_off(self, reason: str, scope: anyio.CancelScope) -> None:
        self._link.send_reset({"reason": reason[:_MAX_REASON]}, channel=Channel.EGRESS, stream=self._stream)
        scope.cancel()

    async def _get(self) -> Data | End:
        while not self._coming:
            self._more = anyio.Event()
            await self._more.wait()
        return self._coming.popleft()

    def _let_go(self, size: int) -> None:
        """Have the container send as much again as went on."""
        self._held -= size
        self._taken += size
        if self._taken >= TAKEN_STEP:
            self._link.send_message({"type": "taken", "size": self._taken}, channel=Channel.EGRESS, stream=self._stream)
            self._taken = 0

    async def _find_room(self) -> int:
        while not self._room:
            self._more_room = anyio.Event()
            await self._more_room.wait()
        return self._room
