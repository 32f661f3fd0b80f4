"""A link with both its ends in one program: what the task says is taken at once, model calls go on to the gateway."""

from __future__ import annotations

import threading
from typing import IO, TYPE_CHECKING, Any

from langchain_sandbox.link import Channel, Data, End, FileStream, LinkEvent, Message, Reset

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.agent.arrival import Arrival
    from langchain_sandbox.agent.wire import Outlet

_CHUNK = 64 * 1024
_AHEAD = 16  # pieces that may wait to be written down


class Desk:
    """Stands in for a `Wire` to a host.

    Args:
        gateway: Where the MODEL channel goes.
        on_event: Called with all else, and with the beginning of each call of the model, in the thread that says it.
    """

    def __init__(self, gateway: Outlet, *, on_event: Callable[[LinkEvent], None]) -> None:
        self._gateway = gateway
        self._on_event = on_event
        self._room = threading.Semaphore(_AHEAD)

    def send_message(self, body: dict[str, Any], *, channel: Channel = Channel.CONTROL, stream: int = 0) -> None:
        """Take a JSON object."""
        if channel is Channel.MODEL:
            self._gateway.send_message(body, channel=channel, stream=stream)
        self._on_event(Message(channel, stream, body))

    def send_data(self, payload: bytes, *, channel: Channel, stream: int) -> None:
        """Take bytes of a stream."""
        if channel is Channel.MODEL:
            self._gateway.send_data(payload, channel=channel, stream=stream)
        else:
            self._on_event(Data(channel, stream, payload))

    def send_whole(self, body: dict[str, Any], payload: bytes, *, channel: Channel, stream: int) -> None:
        """Take all of a call of the model."""
        self._gateway.send_whole(body, payload, channel=channel, stream=stream)
        self._on_event(Message(channel, stream, body))

    def send_end(self, *, channel: Channel, stream: int) -> None:
        """Take the completion of a stream."""
        if channel is Channel.MODEL:
            self._gateway.send_end(channel=channel, stream=stream)
        else:
            self._on_event(End(channel, stream))

    def send_reset(self, body: dict[str, Any], *, channel: Channel, stream: int) -> None:
        """Take word that a stream is given up."""
        if channel is Channel.MODEL:
            self._gateway.send_reset(body, channel=channel, stream=stream)
        else:
            self._on_event(Reset(channel, stream, body))

    def acknowledge(self, data: Data) -> None:
        """A piece of an answer, or of the workspace, has been consumed."""
        if data.channel is Channel.MODEL:
            self._gateway.acknowledge(data)
        else:
            self._room.release()

    def queued(self, channel: Channel) -> int:
        """Bytes that wait on a channel; what is taken here never does."""
        return self._gateway.queued(channel) if channel is Channel.MODEL else 0

    def feed(self, arrival: Arrival, file: IO[bytes], stream: FileStream) -> None:
        """Give a file to the task, as fast as it takes it."""
        file.seek(0)
        while chunk := file.read(_CHUNK):
            self._room.acquire()
            arrival.on_event(Data(Channel.FILES, stream, chunk))
        arrival.on_event(End(Channel.FILES, stream))
