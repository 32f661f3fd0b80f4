"""The server's HTTP: routes, reading bodies, streaming, failing on purpose, and an end that waits for nobody.

Each connection has a thread. A thread that waits (for a delay, or in a hang) waits for the server's `closing`
event, and one that reads or writes is woken by the shutdown of its socket, so `stop` can join them all.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

from langchain_sandbox.testing import _wire
from langchain_sandbox.testing._ledger import Ledger, RecordedRequest, ScriptFailedError

if TYPE_CHECKING:
    from langchain_sandbox.testing.script import Fault, Turn

TITLE = "Scripted title"

_ERROR_FAULTS: dict[Fault, tuple[int, str]] = {
    "http_500": (500, "Internal server error (scripted)."),
    "http_429": (429, "Too many requests (scripted)."),
    "unauthorized": (401, "Unauthorized (scripted)."),
}
_POLL = 0.02  # seconds that stopping may have to wait for the accepting loop
_JOIN = 0.5  # seconds for all threads together; only a script function that blocks needs more
_LINGER = struct.Struct("ii")
_RESET_ON_CLOSE = _LINGER.pack(1, 0)


class ModelServer(ThreadingHTTPServer):
    """Accepts connections and keeps track of them.

    Args:
        address: Host and port to listen on; port 0 takes a free one.
        ledger: Records the requests and knows the turns.
        name: The model's name.
        api_key: The bearer token that every request must bring, if any.
        context_length: The model's context in tokens.

    Raises:
        OSError: If the address cannot be listened on.
    """

    daemon_threads = True
    request_queue_size = 128  # the default of 5 makes a burst of parallel clients wait for TCP retries

    def __init__(
        self, address: tuple[str, int], ledger: Ledger, *, name: str, api_key: str | None, context_length: int
    ) -> None:
        self.ledger = ledger
        self.name = name
        self.api_key = api_key
        self.context_length = context_length
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        self._workers: list[threading.Thread] = []  # only the accepting loop, and `stop` after it, touch this
        self._loop = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": _POLL}, name="scripted-model", daemon=True
        )
        super().__init__(address, ModelHandler)

    def start(self) -> None:
        """Answer requests, in threads of its own."""
        self._loop.start()

    def stop(self) -> None:
        """End everything: the loop, the connections whatever they are doing, and their threads."""
        self.closing.set()
        self.shutdown()
        self._loop.join()
        self.server_close()
        with self._connections_lock:
            for connection in self._connections:
                with suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _JOIN
        for thread in self._workers:
            if thread is not threading.current_thread():  # a script function may close its own server
                thread.join(max(0.0, deadline - time.monotonic()))

    def server_bind(self) -> None:
        """Bind, without the reverse DNS lookup that `HTTPServer` does and nobody needs."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Give a connection its thread, and remember both for `stop`."""
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="scripted-model-connection",
            daemon=True,
        )
        with self._connections_lock:
            self._connections.add(request)
        thread.start()
        self._workers = [*filter(threading.Thread.is_alive, self._workers), thread]

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as the base class has it
        """End a connection, and forget it first: `stop` must not touch a descriptor that is free again."""
        with self._connections_lock:
            self._connections.discard(request)
        lingers, _ = _LINGER.unpack(request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.size))
        if lingers:
            request.close()  # an orderly shutdown first would take the reset away
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Say nothing of clients that went away, but do show a mistake of ours."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class ModelHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: ModelServer
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # with 0.9, the answer to garbage would have no status and no headers
    disable_nagle_algorithm = True  # chunks are small and each must go out now

    def do_GET(self) -> None:
        """Answer `/v1/models`."""
        self._answer()

    def do_POST(self) -> None:
        """Answer `/v1/chat/completions`."""
        self._answer()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is not HTTP, or a method that this server has not, in JSON like everything else."""
        del explain
        status = 404 if code == HTTPStatus.NOT_IMPLEMENTED else 400
        self.close_connection = True  # what is left of the request was not read
        self._send_json(status, _wire.error(status, message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Keep the test's output clean."""

    def _answer(self) -> None:
        try:
            try:
                body = self._read_body()
            except ValueError:
                self.send_error(400, "The length of the body cannot be read.")
                return
            path = self.path.partition("?")[0]
            if self.server.api_key and self.headers["Authorization"] != f"Bearer {self.server.api_key}":
                self._send_error(401, "Wrong or missing API key.")
            elif (self.command, path) == ("GET", "/v1/models"):
                self._send_json(200, _wire.models(self.server.name, self.server.context_length))
            elif (self.command, path) == ("POST", "/v1/chat/completions"):
                self._chat(path, body)
            else:
                self._send_error(404, f"There is no {self.command} {path} here.")
        except ConnectionError:
            self.close_connection = True

    def _chat(self, path: str, raw: bytes) -> None:
        received_at = time.monotonic()
        try:
            body = json.loads(raw)
            messages = body["messages"]
            title = _wire.is_title_prompt(messages)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self._send_error(400, f"The body is not a chat request in JSON: {error!r}")
            return
        if title:
            turn: Turn = {"text": TITLE} if self.server.ledger.fault is None else {"fault": self.server.ledger.fault}
            self._play(_wire.Reply("title", self.server.name, turn, body))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            number, turn = self.server.ledger.take(RecordedRequest(path, headers, body, received_at))
        except ScriptFailedError as error:
            self._send_error(400, str(error))
        else:
            self._play(_wire.Reply(number, self.server.name, turn, body))

    def _play(self, reply: _wire.Reply) -> None:
        fault = reply.turn.get("fault")
        self._wait(reply.turn.get("delay", 0))
        if fault in _ERROR_FAULTS:
            self._send_error(*_ERROR_FAULTS[fault])
        elif fault == "context_length":
            limit = self.server.context_length
            self._send_error(400, _wire.context_length_message(limit, reply.prompt.get("max_tokens")))
        elif fault == "refused":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.close_connection = True
        elif fault == "hang":
            self._wait(None)
        elif reply.prompt.get("stream"):
            self._stream(reply, fault)
        elif fault == "error_mid_stream":
            self._send_error(500, _wire.ENGINE_DIED)
        else:
            self._send_whole(reply, fault)

    def _stream(self, reply: _wire.Reply, fault: Fault | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        payloads = reply.payloads(fault)
        for count, payload in enumerate(payloads):
            if count:
                self._wait(reply.turn.get("chunk_delay", 0))
            self._write_chunk(f"data: {payload}\n\n".encode())
            if fault == "hang_mid_stream":
                self._wait(None)
        if fault == "cut":
            self.close_connection = True
        else:
            self._write_chunk(b"")

    def _write_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _send_whole(self, reply: _wire.Reply, fault: Fault | None) -> None:
        answer = _wire.BROKEN.encode() if fault == "malformed" else json.dumps(reply.completion()).encode()
        halved = fault in {"cut", "hang_mid_stream"}
        self._send(200, answer, sent=len(answer) // 2 if halved else len(answer))
        if fault == "hang_mid_stream":
            self._wait(None)
        self.close_connection |= halved

    def _send_error(self, status: int, message: str) -> None:
        self._send_json(status, _wire.error(status, message))

    def _send_json(self, status: int, document: dict[str, Any]) -> None:
        answer = json.dumps(document).encode()
        self._send(status, answer, sent=0 if self.command == "HEAD" else len(answer))

    def _send(self, status: int, answer: bytes, *, sent: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer[:sent])

    def _wait(self, seconds: float | None) -> None:
        """Wait, `None` for as long as the server lives; its end ends the connection too."""
        if self.server.closing.wait(seconds):
            msg = "The scripted model was closed."
            raise ConnectionAbortedError(msg)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._read_chunked()
        return self._read_exactly(int(self.headers.get("Content-Length") or 0))

    def _read_chunked(self) -> bytes:
        body = bytearray()
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self._read_exactly(size + 2)[:-2]
        while self.rfile.readline().strip():  # trailers, up to the empty line
            pass
        return bytes(body)

    def _read_exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            msg = "The client went away inside its request."
            raise ConnectionResetError(msg)
        return data
