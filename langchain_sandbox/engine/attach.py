"""A container's standard streams as one byte stream, over the engine's HTTP upgrade.

The SDK can attach too, but it reads in a blocked thread, and a hundred runs would be a hundred of them. httpx
speaks the upgrade; what is left to do is to take apart the engine's framing of the two output streams.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from typing import TYPE_CHECKING

import httpcore
import httpx

from langchain_sandbox.errors import SandboxUnavailableError
from langchain_sandbox.link import LinkError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

_HEADER = struct.Struct(">B3sI")
_STDERR = 2
_KINDS = (0, 1, _STDERR)
_READ = 256 * 1024
_TAIL = 16 * 1024
_SWITCHING = 101
# httpx translates the exceptions of requests, but not those of the stream that an upgrade hands out.
_STREAM_ERRORS = (httpcore.NetworkError, OSError)

_descriptors: set[int] = set()


class Demultiplexer:
    """Takes the engine's framed output apart: standard output goes on, of standard error the end is kept.

    What has come of a frame goes on at once. So a length that was damaged on the way is not waited for: whatever
    follows is taken for standard output, and fails the link's checks.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._kind = 0
        self._missing = 0  # bytes of the frame under way
        self._stderr: deque[bytes] = deque()
        self._stderr_size = 0

    def receive(self, data: bytes) -> bytes:
        """Take bytes as they come and return the standard output in them.

        Raises:
            LinkError: If that is not how an engine frames it.
        """
        out: list[bytes] = []
        position = 0
        while position < len(data):
            if not self._missing:
                position = self._read_header(data, position)
                continue
            payload = data[position : position + self._missing]
            position += len(payload)
            self._missing -= len(payload)
            if self._kind == _STDERR:
                self._keep(payload)
            else:
                out.append(payload)
        return b"".join(out)

    def _read_header(self, data: bytes, position: int) -> int:
        """Take what there is of a header, and return where it ends."""
        piece = data[position : position + _HEADER.size - len(self._header)]
        self._header += piece
        if len(self._header) == _HEADER.size:
            self._kind, nothing, self._missing = _HEADER.unpack(self._header)
            if self._kind not in _KINDS or any(nothing):
                msg = f"the engine's output begins with {bytes(self._header)!r}, which is no frame of its"
                raise LinkError(msg)
            self._header.clear()
        return position + len(piece)

    @property
    def stderr_tail(self) -> str:
        """The last words on standard error."""
        return b"".join(self._stderr)[-_TAIL:].decode("utf-8", "replace")

    def _keep(self, payload: bytes) -> None:
        self._stderr.append(payload[-_TAIL:])
        self._stderr_size += len(self._stderr[-1])
        while self._stderr_size - len(self._stderr[0]) >= _TAIL:
            self._stderr_size -= len(self._stderr.popleft())


class AttachedStream:
    """An open attachment; made by `open_attachment`."""

    def __init__(self, exchange: AbstractAsyncContextManager[httpx.Response], response: httpx.Response) -> None:
        self._exchange = exchange
        self._network = response.extensions["network_stream"]
        self._demultiplexer = Demultiplexer()
        self._closed = False
        self._descriptor: int = self._network.get_extra_info("socket").fileno()
        _descriptors.add(self._descriptor)

    async def receive(self) -> bytes:
        """The next bytes of standard output; empty at its end.

        Raises:
            LinkError: If what comes is not the engine's framing.
        """
        while True:
            try:
                data = await self._network.read(_READ)
            except _STREAM_ERRORS:
                return b""
            if not data:
                return b""
            out = self._demultiplexer.receive(data)
            if out:
                return out

    async def send(self, data: bytes) -> None:
        """Write all of `data` to standard input.

        Raises:
            ConnectionError: If the other side is gone.
        """
        try:
            await self._network.write(data)
        except _STREAM_ERRORS as error:
            msg = f"the container's stream is closed: {error!r}"
            raise ConnectionError(msg) from error

    async def aclose(self) -> None:
        """End the stream; the container sees the end of its input."""
        if not self._closed:
            self._closed = True
            _descriptors.discard(self._descriptor)
            await self._exchange.__aexit__(None, None, None)

    @property
    def stderr_tail(self) -> str:
        """The last words on standard error."""
        return self._demultiplexer.stderr_tail


async def open_attachment(client: httpx.AsyncClient, path: str) -> AttachedStream:
    """Attach to a container; `path` is the engine's attach address with its query.

    Raises:
        SandboxUnavailableError: If the engine does not switch to the raw stream.
    """
    headers = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": "text/plain"}
    exchange = client.stream("POST", path, headers=headers, timeout=httpx.Timeout(30.0, read=None))
    response = await exchange.__aenter__()
    if response.status_code != _SWITCHING:
        await exchange.__aexit__(None, None, None)
        msg = f"The engine answered {response.status_code} when asked to attach to a container."
        raise SandboxUnavailableError(msg)
    return AttachedStream(exchange, response)


def _close_in_child() -> None:
    """A forked child must not hold a run's stream open: its end is how the container learns that we are gone."""
    for descriptor in _descriptors:
        try:
            os.close(descriptor)
        except OSError:
            continue
    _descriptors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
