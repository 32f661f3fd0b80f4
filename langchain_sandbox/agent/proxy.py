"""The way out as programs in the container see it: an HTTP proxy on loopback whose every connection the host makes.

Nothing is decided here. The host gets a name and a port, looks at its list, and takes the bytes or refuses; a program
that speaks to this port can do no more than one that asks politely.
"""

from __future__ import annotations

import itertools
import queue
import socket
import socketserver
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from langchain_sandbox.agent.flow import Flow
from langchain_sandbox.link import TAKEN_STEP, Channel, Data, End, LinkEvent, Message, Reset

if TYPE_CHECKING:
    from langchain_sandbox.agent.wire import Outlet

PORT = 4001
_MAX_HEAD = 64 * 1024
_HEAD_LIMIT = 30.0
_PIECE = 64 * 1024
_HOP_BY_HOP = {"proxy-connection", "proxy-authorization", "connection", "keep-alive"}

ENVIRONMENT = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), f"http://127.0.0.1:{PORT}"),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost,::1"),
}
"""Tells programs of it. What listens on loopback, the model's address too, is not asked for through it."""


_offered: dict[str, str] = {}


def offered() -> dict[str, str]:
    """What programs are to be told; nothing where there is no way out."""
    return dict(_offered)


class Proxy:
    """Serves 127.0.0.1 and relays over the link's EGRESS channel, one stream per connection."""

    def __init__(self, wire: Outlet) -> None:
        self._wire = wire
        self._ids = itertools.count(1)
        self._open: dict[int, _Way] = {}
        self._turn = threading.Lock()
        relay = self

        class Handler(_Handler):
            proxy = relay

        self._server = _Server(("127.0.0.1", PORT), Handler)

    def start(self) -> None:
        """Serve until the container ends, and have whatever is started from now on told of it."""
        _offered.update(ENVIRONMENT)
        threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True).start()

    def on_event(self, event: LinkEvent) -> None:
        """Take what the host says on the EGRESS channel; never blocks."""
        if isinstance(event, Data):
            self._wire.acknowledge(event)  # what waits here is no more than its own window
        with self._turn:
            way = self._open.get(event.stream)
        match event:
            case _ if way is None:
                pass
            case Message(body={"type": "taken", "size": int() as size}):
                way.flow.give(size)
            case _:
                way.answers.put(event)

    def ask(self, host: str, port: int) -> _Way:
        """Ask for a connection; what the host says of it comes in pieces."""
        way = _Way(self._wire, next(self._ids))
        with self._turn:
            self._open[way.stream] = way
        way.tell({"type": "connect", "host": host, "port": port})
        return way

    def close(self, way: _Way, *, reason: str | None) -> None:
        """Forget a connection; with a reason, have the host break it off."""
        with self._turn:
            del self._open[way.stream]
        way.flow.close()
        if reason is not None:
            self._wire.send_reset({"reason": reason}, channel=Channel.EGRESS, stream=way.stream)


class _Way:
    """One connection as the host knows it."""

    def __init__(self, wire: Outlet, stream: int) -> None:
        self.stream = stream
        self.answers: queue.SimpleQueue[LinkEvent] = queue.SimpleQueue()
        self.flow = Flow()
        self._wire = wire
        self._taken = 0

    def tell(self, body: dict[str, Any]) -> None:
        """Say something about it."""
        self._wire.send_message(body, channel=Channel.EGRESS, stream=self.stream)

    def send(self, payload: bytes) -> None:
        """Bytes on their way out; waits while too many are under way already.

        Raises:
            ConnectionError: If nobody wants them any more.
        """
        while payload:
            size = self.flow.take(len(payload))
            if not size:
                msg = "the connection is over"
                raise ConnectionError(msg)
            self._wire.send_data(payload[:size], channel=Channel.EGRESS, stream=self.stream)
            payload = payload[size:]

    def send_end(self) -> None:
        """No more of them come."""
        self._wire.send_end(channel=Channel.EGRESS, stream=self.stream)

    def took(self, size: int) -> None:
        """So many bytes reached whoever asked."""
        self._taken += size
        if self._taken >= TAKEN_STEP:
            self.tell({"type": "taken", "size": self._taken})
            self._taken = 0


class _Handler(socketserver.StreamRequestHandler):
    """One connection: a tunnel by CONNECT, or one plain request with the whole address in its first line."""

    proxy: Proxy
    disable_nagle_algorithm = True

    def handle(self) -> None:
        head = self._read_head()
        parsed = parse_head(head) if head else None
        if parsed is None:
            self._answer("400 Bad Request", "This is the sandbox's proxy: CONNECT host:port, or GET http://host/path.")
            return
        host, port, forward = parsed
        way = self.proxy.ask(host, port)
        reason: str | None = "the client went away"
        try:
            match way.answers.get():
                case Message(body={"type": "open"}):
                    if forward:
                        way.send(forward)
                    else:
                        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    threading.Thread(target=self._go_out, args=(way,), name="way_out", daemon=True).start()
                    reason = self._come_in(way)
                case Message(body=body):
                    self._answer("403 Forbidden", f"The sandbox does not let this through: {body.get('message')}.")
                    reason = None
                case _:
                    reason = None
        except OSError:
            pass
        finally:
            self.proxy.close(way, reason=reason)

    def _read_head(self) -> bytes:
        """All up to the empty line; nothing if that does not come, or only piece by piece."""
        head = bytearray()
        self.connection.settimeout(_HEAD_LIMIT)
        deadline = time.monotonic() + _HEAD_LIMIT
        try:
            while line := self.rfile.readline(_MAX_HEAD - len(head)):
                head += line
                if line in {b"\r\n", b"\n"}:
                    self.connection.settimeout(None)
                    return bytes(head)
                if time.monotonic() > deadline:
                    break
        except OSError:
            pass
        return b""

    def _answer(self, status: str, words: str) -> None:
        body = f"{words}\n".encode()
        lines = (f"HTTP/1.1 {status}", "Content-Type: text/plain; charset=utf-8", f"Content-Length: {len(body)}")
        with suppress(OSError):
            self.wfile.write("".join(f"{line}\r\n" for line in (*lines, "Connection: close", "")).encode() + body)

    def _go_out(self, way: _Way) -> None:
        with suppress(OSError, ValueError):
            while piece := self.rfile.read1(_PIECE):
                way.send(piece)
        way.send_end()

    def _come_in(self, way: _Way) -> str | None:
        """Give on what comes, and return why the host should break off, if it should."""
        while True:
            match way.answers.get():
                case Data(payload=payload):
                    self.wfile.write(payload)
                    way.took(len(payload))
                case End():
                    with suppress(OSError):
                        self.connection.shutdown(socket.SHUT_WR)
                    return None
                case Reset():
                    with suppress(OSError):
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return None


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that goes away is no news, and the log is for what is."""


def parse_head(head: bytes) -> tuple[str, int, bytes] | None:
    """Where a request wants to go, and what of it is to be said there: nothing for a tunnel. `None` if it is neither.

    Pure. A request with the whole address becomes one as servers take it, and says that it is the only one on its
    connection: the next may want to go elsewhere.

    Args:
        head: The request's, up to the empty line.
    """
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").rstrip("\n").split("\n")
    words = first.split(" ")
    if len(words) != 3:  # noqa: PLR2004 - method, target, version
        return None
    method, target, version = words
    try:
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    if method == "CONNECT":
        return (host, port, b"") if port else None
    if parts.scheme != "http":
        return None
    kept = [line for line in lines if line.partition(":")[0].strip().lower() not in _HOP_BY_HOP]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    said = "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""])
    return host, port or 80, said.encode("latin-1")
