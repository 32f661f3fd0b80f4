"""The model as OpenCode sees it: an address on loopback whose every request goes to the host and back.

Nothing is decided here. The host gets method, raw target and body, and answers or refuses; a program in the
container that speaks to this port can do no more than OpenCode can.
"""

from __future__ import annotations

import itertools
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from langchain_sandbox.link import Channel, Data, End, LinkEvent, Message, Reset

if TYPE_CHECKING:
    from langchain_sandbox.agent.wire import Wire

PORT = 4000
_MAX_BODY = 32 * 1024 * 1024
_CHUNK = 64 * 1024


class Endpoint:
    """Serves 127.0.0.1 and relays over the link's MODEL channel, one stream per request."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[LinkEvent]] = {}
        relay = self

        class Handler(_Handler):
            endpoint = relay

        self._server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
        self._server.daemon_threads = True

    def start(self) -> None:
        """Serve until the container ends."""
        threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True).start()

    def on_event(self, event: LinkEvent) -> None:
        """Take what the host says on the MODEL channel; never blocks."""
        answers = self._answers.get(event.stream)
        if answers is not None:
            answers.put(event)
        elif isinstance(event, Data):
            self._wire.acknowledge(event)  # the client is gone, the window must not shrink for it

    def open(self, *, method: str, target: str, headers: dict[str, str]) -> tuple[int, queue.SimpleQueue[LinkEvent]]:
        """Begin a relayed request."""
        stream = next(self._ids)
        answers: queue.SimpleQueue[LinkEvent] = queue.SimpleQueue()
        self._answers[stream] = answers
        request = {"type": "request", "method": method, "target": target, "headers": headers}
        self._wire.send_message(request, channel=Channel.MODEL, stream=stream)
        return stream, answers

    def send_body(self, stream: int, body: bytes) -> None:
        """Send the whole body of a relayed request."""
        for start in range(0, len(body), _CHUNK):
            self._wire.send_data(body[start : start + _CHUNK], channel=Channel.MODEL, stream=stream)
        self._wire.send_end(channel=Channel.MODEL, stream=stream)

    def consumed(self, data: Data) -> None:
        """Say that a piece of an answer reached OpenCode."""
        self._wire.acknowledge(data)

    def close(self, stream: int, *, reason: str | None) -> None:
        """Forget a relayed request; with a reason, tell the host that nobody waits for the rest."""
        answers = self._answers.pop(stream)
        if reason is not None:
            self._wire.send_reset({"reason": reason}, channel=Channel.MODEL, stream=stream)
        while not answers.empty():
            event = answers.get()
            if isinstance(event, Data):
                self._wire.acknowledge(event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    endpoint: Endpoint
    raw_requestline: bytes

    def do_POST(self) -> None:
        self._relay()

    do_GET = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_CONNECT = do_POST  # noqa: N815 - the base class names them

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing: standard output is the link."""

    def _relay(self) -> None:
        self.close_connection = True
        # The raw line: `self.path` has leading slashes folded, and the host must judge what was really asked.
        words = self.raw_requestline.split()
        target = words[1].decode("latin-1") if len(words) > 1 else ""
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not length.isdigit() or int(length) > _MAX_BODY:
            self.send_error(413)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        stream, answers = self.endpoint.open(method=self.command, target=target, headers=headers)
        reason: str | None = "the client went away"
        try:
            self.endpoint.send_body(stream, self.rfile.read(int(length)))
            self._answer(answers)
            reason = None
        except OSError:
            pass
        finally:
            self.endpoint.close(stream, reason=reason)

    def _answer(self, answers: queue.SimpleQueue[LinkEvent]) -> None:
        while True:
            match answers.get():
                case Message(body=head):
                    self.send_response(int(head["status"]))
                    self.send_header("Content-Type", str(head["content_type"]))
                    self.send_header("Transfer-Encoding", "chunked")
                    self.send_header("Connection", "close")
                    self.end_headers()
                case Data(payload=payload) as data:
                    try:
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(payload), payload))
                    finally:
                        self.endpoint.consumed(data)
                case End():
                    self.wfile.write(b"0\r\n\r\n")
                    return
                case Reset():
                    return  # no last chunk: OpenCode sees a broken answer, which is what it is
