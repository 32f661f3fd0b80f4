"""The framed stream between the host and the program in the container, without any I/O.

Everything that affects the protocol lives in this file, and this file does not know which side it is on: bytes
go in and events come out (`Link.receive`), messages go in and bytes come out (`Link.data_to_send`). Both sides
share it, so it uses nothing but the standard library.

Theory of operation
-------------------
A frame is a ten-byte header (payload length, kind, channel, stream) and at most 64 KiB of payload, each followed by
its CRC-32; the header's begins with the frame's number. What was damaged, lost or doubled on the way is so noticed at
once and never acted upon, a damaged length too, which would be waited for otherwise. That is against bad networks:
who means harm can count as well as we can. A channel is a
class of traffic; a stream is one conversation inside it, such as one model call. Frames leave in the order of
the channels' numbers, so a model's answer never waits behind a repository.

========  ==========================================================================================
kind      payload
========  ==========================================================================================
MESSAGE   JSON object, or its last part
PART      an earlier part of a JSON object that does not fit one frame
DATA      raw bytes of a stream
END       nothing: the stream is complete
RESET     JSON object saying why the stream is not going to be complete
CREDIT    four bytes: that many more payload bytes may be sent on this channel
PING      nothing: the other side is alive
========  ==========================================================================================

Each channel but CONTROL has a window of 1 MiB: a sender stops when it has sent that much more than the receiver
has acknowledged. A receiver acknowledges DATA when it has truly consumed it (`Link.acknowledge`), so a slow disk
slows its own channel only. Messages are acknowledged on arrival, since they are put together in bounded memory.

On EGRESS anybody's programs share the channel, and one that reads nothing must not stop the others. There DATA is
acknowledged on arrival, too, and each stream has a window of its own in each direction: `STREAM_WINDOW`, out of which
comes what was sent, and into which goes what the other side says that it gave on (a message `taken`).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

PROTOCOL_VERSION = 4
MAX_PAYLOAD = 64 * 1024
WINDOW = 1024 * 1024
STREAM_WINDOW = 128 * 1024
TAKEN_STEP = STREAM_WINDOW // 2  # to say it in steps keeps those messages rare
MAX_MESSAGE = 16 * 1024 * 1024

_HEADER = struct.Struct(">IBBI")
_CREDIT = struct.Struct(">I")
_CHECK = struct.Struct(">I")
_HEAD = _HEADER.size + _CHECK.size
_FRAME_NUMBERS = 1 << 32
_GRANT_STEP = WINDOW // 4  # granting in steps keeps CREDIT frames rare
_BEGUN = 1024  # what a message that has begun is counted as beside its bytes: to remember it costs memory, too


class Channel(IntEnum):
    """Classes of traffic, most urgent first."""

    CONTROL = 0
    MODEL = 1
    EVENTS = 2
    EXEC = 3
    EGRESS = 4
    FILES = 5


class FileStream(IntEnum):
    """The streams of the FILES channel that both sides know by number."""

    RESULT = 0
    TAR = 1
    PACK = 2
    PACK_INDEX = 3
    SEED = 4
    FIRST_CHANGE = 16


class Kind(IntEnum):
    """What a frame carries; the table is at the top of this file."""

    MESSAGE = 0
    PART = 1
    DATA = 2
    END = 3
    RESET = 4
    CREDIT = 5
    PING = 6


@dataclass(frozen=True, slots=True)
class Message:
    """A whole JSON object arrived."""

    channel: Channel
    stream: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream arrived; acknowledge them once they are consumed."""

    channel: Channel
    stream: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class End:
    """A stream is complete."""

    channel: Channel
    stream: int


@dataclass(frozen=True, slots=True)
class Reset:
    """A stream will not be completed; `body` says why."""

    channel: Channel
    stream: int
    body: dict[str, Any]


LinkEvent = Message | Data | End | Reset


class LinkError(Exception):
    """The other side broke the protocol; the stream cannot be used any further."""


class _Frame:
    """What waits to be sent; it takes its number when it leaves."""

    __slots__ = ("cost", "header", "payload", "size")

    def __init__(self, header: bytes, payload: bytes = b"", cost: int = 0) -> None:
        self.header = header
        self.payload = payload
        self.cost = cost
        self.size = _HEAD + len(payload) + (_CHECK.size if payload else 0)


class Link:
    """One side of the stream.

    Args:
        max_message: Largest JSON object to accept, in bytes.
    """

    def __init__(self, *, max_message: int = MAX_MESSAGE) -> None:
        self._max_message = max_message
        self._inbound = bytearray()
        self._received = 0
        self._sent = 0
        self._parts: dict[tuple[Channel, int], bytearray] = {}
        self._parts_size = 0
        self._unacknowledged = dict.fromkeys(Channel, 0)
        self._to_grant = dict.fromkeys(Channel, 0)
        self._credit = dict.fromkeys(Channel, WINDOW)
        self._urgent: deque[_Frame] = deque()  # CREDIT and PING: no window, before all else
        self._queues: dict[Channel, deque[_Frame]] = {channel: deque() for channel in Channel}
        self._queued = dict.fromkeys(Channel, 0)

    # What this side says.

    def send_message(self, body: dict[str, Any], *, channel: Channel = Channel.CONTROL, stream: int = 0) -> None:
        """Queue a JSON object, in as many frames as it needs."""
        payload = _dump(body)
        last = max(0, len(payload) - 1) // MAX_PAYLOAD * MAX_PAYLOAD
        for start in range(0, last, MAX_PAYLOAD):
            self._queue(Kind.PART, channel, stream, payload[start : start + MAX_PAYLOAD])
        self._queue(Kind.MESSAGE, channel, stream, payload[last:])

    def send_data(self, payload: bytes | memoryview, *, channel: Channel, stream: int) -> None:
        """Queue raw bytes of a stream."""
        for start in range(0, len(payload), MAX_PAYLOAD):
            self._queue(Kind.DATA, channel, stream, bytes(payload[start : start + MAX_PAYLOAD]))

    def send_end(self, *, channel: Channel, stream: int) -> None:
        """Queue the completion of a stream."""
        self._queue(Kind.END, channel, stream, b"")

    def send_reset(self, body: dict[str, Any], *, channel: Channel, stream: int) -> None:
        """Queue word that a stream will not be completed; `body` must be short."""
        self._queue(Kind.RESET, channel, stream, _dump(body)[:MAX_PAYLOAD])

    def send_ping(self) -> None:
        """Queue a sign of life."""
        self._urgent.append(_Frame(_HEADER.pack(0, Kind.PING, Channel.CONTROL, 0)))

    def acknowledge(self, channel: Channel, size: int) -> None:
        """Say that `size` bytes of DATA on a channel have been consumed, so that more may come."""
        if channel is Channel.CONTROL or not size:
            return
        self._to_grant[channel] += size
        if self._to_grant[channel] >= _GRANT_STEP:
            grant, self._to_grant[channel] = self._to_grant[channel], 0
            self._unacknowledged[channel] -= grant
            header = _HEADER.pack(_CREDIT.size, Kind.CREDIT, channel, 0)
            self._urgent.append(_Frame(header, _CREDIT.pack(grant)))

    def queued(self, channel: Channel) -> int:
        """Bytes that wait on a channel, for senders that want to hold back."""
        return self._queued[channel]

    @property
    def wants_write(self) -> bool:
        """Whether `data_to_send` has something to give now."""
        return bool(self._urgent) or any(self._ready(channel) for channel in Channel)

    @property
    def hurries(self) -> bool:
        """Whether something is to be sent that should not wait for more: anything but a few events."""
        others = any(self._ready(channel) for channel in Channel if channel is not Channel.EVENTS)
        return others or bool(self._urgent) or self._queued[Channel.EVENTS] >= MAX_PAYLOAD

    def data_to_send(self, limit: int = MAX_PAYLOAD) -> bytes:
        """Take the next whole frames: about `limit` bytes, most urgent first, as far as credit goes."""
        out: list[bytes] = []
        size = 0
        while self._urgent and size < limit:
            size += self._write(self._urgent.popleft(), out)
        for channel in Channel:
            while size < limit and self._ready(channel):
                frame = self._queues[channel].popleft()
                if channel is not Channel.CONTROL:
                    self._credit[channel] -= frame.cost
                self._queued[channel] -= frame.size
                size += self._write(frame, out)
        return b"".join(out)

    def _write(self, frame: _Frame, out: list[bytes]) -> int:
        """Append a frame with its checks, which depend on when it leaves, and return its size."""
        out += (frame.header, _CHECK.pack(zlib.crc32(frame.header, self._sent)))
        if frame.payload:
            out += (frame.payload, _CHECK.pack(zlib.crc32(frame.payload)))
        self._sent = (self._sent + 1) % _FRAME_NUMBERS
        return frame.size

    def _ready(self, channel: Channel) -> bool:
        queue = self._queues[channel]
        return bool(queue) and (channel is Channel.CONTROL or queue[0].cost <= self._credit[channel])

    def _queue(self, kind: Kind, channel: Channel, stream: int, payload: bytes) -> None:
        frame = _Frame(_HEADER.pack(len(payload), kind, channel, stream), payload, _cost(kind, len(payload)))
        self._queues[channel].append(frame)
        self._queued[channel] += frame.size

    # What the other side says.

    def receive(self, data: bytes) -> list[LinkEvent]:
        """Take bytes as they come and return what became complete with them.

        Raises:
            LinkError: If the bytes are not a valid continuation of the stream.
        """
        self._inbound += data
        events: list[LinkEvent] = []
        position = 0
        while len(self._inbound) - position >= _HEAD:
            self._check_header(position)
            length, kind, channel, stream = _HEADER.unpack_from(self._inbound, position)
            if length > MAX_PAYLOAD:
                msg = f"a frame of {length} bytes is longer than {MAX_PAYLOAD}"
                raise LinkError(msg)
            end = position + _HEAD + length + (_CHECK.size if length else 0)
            if len(self._inbound) < end:
                break
            payload = self._read_payload(position + _HEAD, length)
            position = end
            self._received = (self._received + 1) % _FRAME_NUMBERS
            event = self._take(kind, channel, stream, payload)
            if event is not None:
                events.append(event)
        del self._inbound[:position]
        return events

    def _check_header(self, position: int) -> None:
        header = self._inbound[position : position + _HEADER.size]
        if zlib.crc32(header, self._received) != _CHECK.unpack_from(self._inbound, position + _HEADER.size)[0]:
            first = "it is damaged, or the other side speaks another version of the protocol (rebuild the image)"
            why = "it was damaged on the way, or something before it was lost" if self._received else first
            msg = f"frame {self._received} does not match its check: {why}"
            raise LinkError(msg)

    def _read_payload(self, start: int, length: int) -> bytes:
        payload = bytes(self._inbound[start : start + length])
        if length and zlib.crc32(payload) != _CHECK.unpack_from(self._inbound, start + length)[0]:
            msg = f"what frame {self._received} carries does not match its check: it was damaged on the way"
            raise LinkError(msg)
        return payload

    def _take(self, kind_number: int, channel_number: int, stream: int, payload: bytes) -> LinkEvent | None:
        try:
            kind, channel = Kind(kind_number), Channel(channel_number)
        except ValueError as error:
            raise LinkError(str(error)) from error
        self._count(channel, _cost(kind, len(payload)))
        match kind:
            case Kind.PART | Kind.MESSAGE:
                return self._assemble(kind, channel, stream, payload)
            case Kind.DATA:
                return Data(channel, stream, payload)
            case Kind.END:
                return End(channel, stream)
            case Kind.RESET:
                return Reset(channel, stream, _load(payload))
            case Kind.CREDIT:
                self._take_credit(channel, payload)
                return None
            case Kind.PING:
                return None

    def _count(self, channel: Channel, cost: int) -> None:
        if channel is Channel.CONTROL:
            return
        self._unacknowledged[channel] += cost
        if self._unacknowledged[channel] > WINDOW:
            msg = f"more than {WINDOW} unacknowledged bytes on {channel.name}"
            raise LinkError(msg)

    def _take_credit(self, channel: Channel, payload: bytes) -> None:
        if len(payload) != _CREDIT.size:
            msg = f"a CREDIT frame has {_CREDIT.size} bytes, not {len(payload)}"
            raise LinkError(msg)
        self._credit[channel] += _CREDIT.unpack(payload)[0]
        if self._credit[channel] > WINDOW:
            msg = f"more credit than was used on {channel.name}"
            raise LinkError(msg)

    def _assemble(self, kind: Kind, channel: Channel, stream: int, payload: bytes) -> Message | None:
        self.acknowledge(channel, len(payload))
        key = (channel, stream)
        if kind is Kind.PART:
            if key not in self._parts:
                self._parts[key] = bytearray()
                self._parts_size += _BEGUN
            self._parts[key] += payload
            self._parts_size += len(payload)
            # Counted over all streams: a thousand half messages cost as much as a long one.
            if self._parts_size > self._max_message:
                msg = f"messages of more than {self._max_message} bytes"
                raise LinkError(msg)
            return None
        earlier = self._parts.pop(key, None)
        if earlier is not None:
            self._parts_size -= len(earlier) + _BEGUN
            payload = bytes(earlier) + payload
        return Message(channel, stream, _load(payload))


def _cost(kind: Kind, length: int) -> int:
    """What a frame takes out of its channel's window: only what the receiver has to keep."""
    return length if kind in {Kind.MESSAGE, Kind.PART, Kind.DATA} else 0


def _dump(body: dict[str, Any]) -> bytes:
    # ASCII only: names that are not UTF-8 travel as lone surrogates, which no UTF-8 encoder takes.
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def _load(payload: bytes) -> dict[str, Any]:
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError) as error:
        msg = f"a message is not JSON: {error}"
        raise LinkError(msg) from error
    if not isinstance(body, dict):
        msg = f"a message is a JSON object, not {type(body).__name__}"
        raise LinkError(msg)
    return body
