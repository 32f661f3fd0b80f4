"""The model as OpenCode sees it: an address on loopback whose every request goes to the host and back.

Nothing is decided here. The host gets method, raw target and body, and answers or refuses; a program in the
container that speaks to this port can do no more than OpenCode can.
"""

from __future__ import annotations

import itertools
import queue
import socket
import socketserver
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from langchain_sandbox.link import Channel, Data, End, LinkEvent, Message, Reset

if TYPE_CHECKING:
    from langchain_sandbox.agent.wire import Outlet

PORT = 4000
_MAX_BODY = 32 * 1024 * 1024
_MAX_LINE = 64 * 1024
_MAX_HEADERS = 100


class Exchange:
    """A request on its way, and the pieces of its answer that have come.

    Args:
        stream: Its number on the link.
        connection: Whoever asks.
    """

    def __init__(self, stream: int, connection: socket.socket) -> None:
        self.stream = stream
        self.connection = connection
        self.answers: queue.SimpleQueue[LinkEvent] = queue.SimpleQueue()


class Endpoint:
    """Serves 127.0.0.1 and relays over the link's MODEL channel, one stream per request."""

    def __init__(self, wire: Outlet) -> None:
        self._wire = wire
        self._ids = itertools.count(1)
        self._open: dict[int, Exchange] = {}
        self._closed = False
        self._turn = threading.Lock()
        self._gate = threading.Event()
        self._gate.set()
        relay = self

        class Handler(_Handler):
            endpoint = relay

        self._server = _Server(("127.0.0.1", PORT), Handler)

    def start(self) -> None:
        """Serve until the container ends."""
        threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True).start()

    def hold(self) -> None:
        """Keep answers back, until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Let answers go to whoever asked."""
        self._gate.set()

    def pass_gate(self) -> None:
        """Wait while answers are kept back."""
        self._gate.wait()

    def end_all(self) -> None:
        """Break off whatever is asked or answered, and let nobody ask from now on, until `reopen`.

        Who asks may be stopped and take nothing any more, and is not to hold what the next task needs of the window.
        """
        with self._turn:
            self._closed = True
            ended, self._open = self._open, {}
        self.release()
        for exchange in ended.values():
            self._reset(exchange.stream, "the task is over")
            exchange.answers.put(Reset(Channel.MODEL, exchange.stream, {}))
            with suppress(OSError):
                exchange.connection.shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        """Let everybody ask again."""
        with self._turn:
            self._closed = False

    def on_event(self, event: LinkEvent) -> None:
        """Take what the host says on the MODEL channel; never blocks."""
        with self._turn:
            exchange = self._open.get(event.stream)
            if exchange is not None:
                exchange.answers.put(event)
                return
        if isinstance(event, Data):
            self._wire.acknowledge(event)  # the client is gone, the window must not shrink for it

    def ask(
        self, body: bytes, *, method: str, target: str, headers: dict[str, str], connection: socket.socket
    ) -> Exchange | None:
        """Relay a request; its answer comes in pieces. `None` while nobody may ask."""
        exchange = Exchange(next(self._ids), connection)
        with self._turn:
            if self._closed:
                return None
            self._open[exchange.stream] = exchange
        request = {"type": "request", "method": method, "target": target, "headers": headers}
        self._wire.send_whole(request, body, channel=Channel.MODEL, stream=exchange.stream)
        if exchange.stream not in self._open:
            self._reset(exchange.stream, "the task is over")  # the first one may have gone before the request
        return exchange

    def consumed(self, data: Data) -> None:
        """Say that a piece of an answer reached OpenCode."""
        self._wire.acknowledge(data)

    def close(self, exchange: Exchange, *, reason: str | None) -> None:
        """Forget a relayed request; with a reason, tell the host that nobody waits for the rest."""
        with self._turn:
            known = self._open.pop(exchange.stream, None) is not None
        if known and reason is not None:
            self._reset(exchange.stream, reason)
        while not exchange.answers.empty():
            event = exchange.answers.get()
            if isinstance(event, Data):
                self._wire.acknowledge(event)

    def _reset(self, stream: int, reason: str) -> None:
        self._wire.send_reset({"reason": reason}, channel=Channel.MODEL, stream=stream)


class _Handler(socketserver.StreamRequestHandler):
    """One request, one answer, one connection.

    Read by hand: the library's handler folds slashes in the target, and its header parser costs a good part of what
    a relayed call may cost in all.
    """

    endpoint: Endpoint
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            method, target, headers = self._read_head()
        except ValueError:
            self._refuse("400 Bad Request")
            return
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal() or int(length) > _MAX_BODY:
            self._refuse("413 Content Too Large")
            return
        try:
            body = self.rfile.read(int(length))
        except OSError:
            return
        exchange = self.endpoint.ask(body, method=method, target=target, headers=headers, connection=self.request)
        if exchange is None:
            self._refuse("503 Service Unavailable")
            return
        reason: str | None = "the client went away"
        try:
            self._answer(exchange.answers)
            reason = None
        except OSError:
            pass
        finally:
            self.endpoint.close(exchange, reason=reason)

    def _read_head(self) -> tuple[str, str, dict[str, str]]:
        """Method, target as it was sent, and headers.

        Raises:
            ValueError: If it is not a request.
        """
        method, target, _ = self.rfile.readline(_MAX_LINE).decode("latin-1").split(" ")
        headers: dict[str, str] = {}
        while line := self.rfile.readline(_MAX_LINE).decode("latin-1").rstrip("\r\n"):
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
            if len(headers) > _MAX_HEADERS:
                msg = "too many headers"
                raise ValueError(msg)
        return method, target, headers

    def _refuse(self, status: str) -> None:
        self.wfile.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode("ascii"))

    def _answer(self, answers: queue.SimpleQueue[LinkEvent]) -> None:
        over = False
        while not over:
            came = _take(answers)
            try:
                if isinstance(came[0], Message):
                    self.endpoint.pass_gate()
                # In one piece: each that OpenCode reads has it take a turn.
                self.wfile.write(_build_answer(came))
            finally:
                for data in came:
                    if isinstance(data, Data):
                        self.endpoint.consumed(data)
            over = isinstance(came[-1], End | Reset)


def _take(answers: queue.SimpleQueue[LinkEvent]) -> list[LinkEvent]:
    """Wait for what is next of an answer, and take what has come besides; nothing comes after its end."""
    came = [answers.get()]
    with suppress(queue.Empty):
        while True:
            came.append(answers.get_nowait())
    return came


def _build_answer(came: list[LinkEvent]) -> bytes:
    """What the client is sent for it. Pure."""
    parts: list[bytes] = []
    payload = b"".join(event.payload for event in came if isinstance(event, Data))
    if isinstance(came[0], Message):
        head = came[0].body
        lines = (
            f"HTTP/1.1 {int(head['status'])} Relayed",
            f"Content-Type: {head['content_type']}",
            "Transfer-Encoding: chunked",
            "Connection: close",
        )
        parts.append("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1"))
    if payload:
        parts.append(b"%x\r\n%b\r\n" % (len(payload), payload))
    # After a reset there is no last chunk: OpenCode sees a broken answer, which is what it is.
    if isinstance(came[-1], End):
        parts.append(b"0\r\n\r\n")
    return b"".join(parts)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that goes away is no news, and the log is for what is."""
