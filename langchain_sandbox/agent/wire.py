"""The link over two file descriptors: one thread reads, one writes, and neither ever waits for the other."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from langchain_sandbox.link import Channel, Data, Link, LinkError, LinkEvent

if TYPE_CHECKING:
    from collections.abc import Callable

PING_INTERVAL = 10.0
SILENCE_LIMIT = 60.0
_HIGH_WATER = 256 * 1024
_PIECE = 64 * 1024
_GATHER = 0.015
"""Seconds that an event waits for others to be written with: each write wakes four processes on the way."""


class Outlet(Protocol):
    """Where the parts of the program say what they have to say; a `Wire`, or what stands in for one."""

    def send_message(self, body: dict[str, Any], *, channel: Channel = Channel.CONTROL, stream: int = 0) -> None:
        """Say a JSON object; returns at once."""

    def send_data(self, payload: bytes, *, channel: Channel, stream: int) -> None:
        """Say bytes of a stream; waits while too much is waiting already."""

    def send_whole(self, body: dict[str, Any], payload: bytes, *, channel: Channel, stream: int) -> None:
        """Say all of a stream: a JSON object, bytes, and that it is complete; as one piece where they are few."""

    def send_end(self, *, channel: Channel, stream: int) -> None:
        """Complete a stream."""

    def send_reset(self, body: dict[str, Any], *, channel: Channel, stream: int) -> None:
        """Give up a stream."""

    def acknowledge(self, data: Data) -> None:
        """Say that received bytes have been consumed."""

    def queued(self, channel: Channel) -> int:
        """Bytes that wait to be sent on a channel."""


class Wire:
    """Thread-safe face of a `Link`.

    Args:
        read_fd: Where the host's bytes come in.
        write_fd: Where ours go out.
        on_event: Called in the reading thread for each event; it must not block.
        on_end: Called once with the reason when the link is over; it does not return in practice.
    """

    def __init__(
        self,
        *,
        read_fd: int,
        write_fd: int,
        on_event: Callable[[LinkEvent], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._on_event = on_event
        self._on_end = on_end
        self._link = Link()
        self._changed = threading.Condition()
        self._heard_at = time.monotonic()

    def start(self) -> None:
        """Start both threads."""
        for target in (self._read, self._write):
            threading.Thread(target=target, name=f"wire{target.__name__}", daemon=True).start()

    def send_message(self, body: dict[str, Any], *, channel: Channel = Channel.CONTROL, stream: int = 0) -> None:
        """Queue a JSON object; returns at once."""
        with self._changed:
            self._link.send_message(body, channel=channel, stream=stream)
            self._changed.notify_all()

    def send_data(self, payload: bytes, *, channel: Channel, stream: int) -> None:
        """Queue bytes of a stream; waits while too much is waiting already."""
        with self._changed:
            self._changed.wait_for(lambda: self._link.queued(channel) < _HIGH_WATER)
            self._link.send_data(payload, channel=channel, stream=stream)
            self._changed.notify_all()

    def send_whole(self, body: dict[str, Any], payload: bytes, *, channel: Channel, stream: int) -> None:
        """Queue all of a stream: each write wakes four processes on the way, so few bytes are written at once."""
        with self._changed:
            self._link.send_message(body, channel=channel, stream=stream)
            for start in range(0, len(payload), _PIECE):
                self.send_data(payload[start : start + _PIECE], channel=channel, stream=stream)
            self.send_end(channel=channel, stream=stream)

    def send_end(self, *, channel: Channel, stream: int) -> None:
        """Complete a stream."""
        with self._changed:
            self._link.send_end(channel=channel, stream=stream)
            self._changed.notify_all()

    def send_reset(self, body: dict[str, Any], *, channel: Channel, stream: int) -> None:
        """Give up a stream."""
        with self._changed:
            self._link.send_reset(body, channel=channel, stream=stream)
            self._changed.notify_all()

    def acknowledge(self, data: Data) -> None:
        """Say that received bytes have been consumed."""
        with self._changed:
            self._link.acknowledge(data.channel, len(data.payload))
            self._changed.notify_all()

    def queued(self, channel: Channel) -> int:
        """Bytes that wait to be sent on a channel."""
        with self._changed:
            return self._link.queued(channel)

    def _read(self) -> None:
        reason = "the host closed the link"
        try:
            while data := os.read(self._read_fd, 256 * 1024):
                self._heard_at = time.monotonic()
                with self._changed:
                    events = self._link.receive(data)
                    self._changed.notify_all()  # a CREDIT frame may have made room
                for event in events:
                    self._on_event(event)
        except LinkError as error:
            reason = f"the host broke the protocol: {error}"
        except OSError as error:
            reason = f"the link broke: {error}"
        self._on_end(reason)

    def _write(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.notify_all()  # what was written has made room
                    if not self._changed.wait_for(lambda: self._link.wants_write, PING_INTERVAL):
                        self._link.send_ping()
                    self._changed.wait_for(lambda: self._link.hurries, _GATHER)
                    out = self._link.data_to_send()
                if time.monotonic() - self._heard_at > SILENCE_LIMIT:
                    self._on_end("the host was silent for too long")
                view = memoryview(out)
                while view:
                    view = view[os.write(self._write_fd, view) :]
        except OSError as error:
            self._on_end(f"the link broke: {error}")
