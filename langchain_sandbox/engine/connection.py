"""The host's end of the link: moves bytes between an engine's stream and a `Link`.

Reading and writing are two tasks that never wait for each other, and the reader never waits for whoever consumes
what it read: it hands each event to a plain function. What that function keeps is bounded by the link's windows.

The compose file's gateway service runs this too, and `gateway/`, on Debian's anyio 3 and httpx 0.23: no newer names.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.link import Channel, Data, Link, LinkError, LinkEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.engine.base import ByteStream

PING_INTERVAL = 10.0
SILENCE_LIMIT = 60.0
_HIGH_WATER = 256 * 1024

logger = logging.getLogger(__name__)


class Connection:
    """A link over a container's stream.

    Args:
        stream: The attached stream.
        on_event: Called for each event, in order; it must not block.
    """

    def __init__(self, stream: ByteStream, *, on_event: Callable[[LinkEvent], None]) -> None:
        self._stream = stream
        self._on_event = on_event
        self._link = Link()
        self._changed = anyio.Event()
        self._room = anyio.Event()
        self._writing = False
        self._heard_at = 0.0
        self.broken: str | None = None

    async def run(self) -> None:
        """Serve until the stream ends; `broken` then says how the protocol was broken, if it was."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write)
            tasks.start_soon(self._keep_alive, tasks.cancel_scope)
            await self._read()
            tasks.cancel_scope.cancel()

    def send_message(self, body: dict[str, Any], *, channel: Channel = Channel.CONTROL, stream: int = 0) -> None:
        """Queue a JSON object; returns at once."""
        self._link.send_message(body, channel=channel, stream=stream)
        self._changed.set()

    async def send_data(self, payload: bytes | memoryview, *, channel: Channel, stream: int) -> None:
        """Queue bytes of a stream; waits while too much is waiting already."""
        while self._link.queued(channel) >= _HIGH_WATER:
            await self._next_write()
        self._link.send_data(payload, channel=channel, stream=stream)
        self._changed.set()

    def send_end(self, *, channel: Channel, stream: int) -> None:
        """Complete a stream."""
        self._link.send_end(channel=channel, stream=stream)
        self._changed.set()

    def send_reset(self, body: dict[str, Any], *, channel: Channel, stream: int) -> None:
        """Give up a stream."""
        self._link.send_reset(body, channel=channel, stream=stream)
        self._changed.set()

    def acknowledge(self, data: Data) -> None:
        """Say that received bytes have been consumed."""
        self._link.acknowledge(data.channel, len(data.payload))
        self._changed.set()

    async def drain(self) -> None:
        """Wait until everything that may be sent was handed to the engine."""
        while self._link.wants_write or self._writing:
            await self._next_write()

    async def _next_write(self) -> None:
        if self._room.is_set():
            self._room = anyio.Event()
        await self._room.wait()

    async def _read(self) -> None:
        try:
            while data := await self._stream.receive():
                self._heard_at = anyio.current_time()
                for event in self._link.receive(data):
                    self._on_event(event)
                if self._link.wants_write:
                    self._changed.set()  # there is room again
        except LinkError as error:
            self.broken = str(error)

    async def _write(self) -> None:
        while True:
            while out := self._link.data_to_send():
                self._writing = True
                try:
                    await self._stream.send(out)
                except ConnectionError as error:
                    logger.debug("%s", error)
                    return  # the reader sees the same end and says so
                self._writing = False
                self._room.set()
            await self._changed.wait()
            self._changed = anyio.Event()

    async def _keep_alive(self, scope: anyio.CancelScope) -> None:
        """Give signs of life, and end it all where there are none from the other side."""
        self._heard_at = anyio.current_time()
        while True:
            await anyio.sleep(PING_INTERVAL)
            if anyio.current_time() - self._heard_at > SILENCE_LIMIT:
                self.broken = f"the container was silent for {SILENCE_LIMIT:.0f} s"
                scope.cancel()
                return
            self._link.send_ping()
            self._changed.set()
