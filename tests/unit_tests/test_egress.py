"""The way out, from a program that asks the proxy to a server on this machine: both ends of a link in one process."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import socket
import socketserver
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from wires import connect

from langchain_sandbox.agent import flow, proxy
from langchain_sandbox.egress_config import Egress
from langchain_sandbox.gateway import egress as module
from langchain_sandbox.gateway.egress import EgressRelay
from langchain_sandbox.link import Channel, LinkEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.agent.wire import Wire
    from langchain_sandbox.gateway.passage import EgressRecord
    from langchain_sandbox.link import Data

pytestmark = pytest.mark.timeout(30)
HERE = ["127.0.0.0/8"]
MIB = 1024 * 1024


class Host:
    """The host's end as the relay needs it, on a loop of its own."""

    def __init__(self, egress: Egress) -> None:
        self.loop = asyncio.new_event_loop()
        self.wire: Wire
        self.records: list[EgressRecord] = []
        self.relay: EgressRelay
        self._egress = egress
        self._ready = threading.Event()
        self._over: asyncio.Event
        threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),), daemon=True).start()
        self._ready.wait()

    async def _serve(self) -> None:
        self._over, self._heard = asyncio.Event(), asyncio.Queue[LinkEvent]()
        async with anyio.create_task_group() as tasks:
            link: Any = self
            self.relay = EgressRelay(
                link=link, egress=self._egress, tasks=tasks, clock=time.monotonic, on_record=self.records.append
            )
            tasks.start_soon(self._read)
            self._ready.set()
            await self._over.wait()
            tasks.cancel_scope.cancel()

    async def _read(self) -> None:
        while True:
            self.relay.on_event(await self._heard.get())

    def hear(self, event: LinkEvent) -> None:
        self.loop.call_soon_threadsafe(self._heard.put_nowait, event)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._over.set)

    def await_records(self, count: int) -> list[EgressRecord]:
        deadline = time.monotonic() + 20
        while len(self.records) < count:
            assert time.monotonic() < deadline, self.records
            time.sleep(0.01)
        return self.records

    # As a `Connection`.

    def send_message(self, body: dict[str, Any], *, channel: Channel, stream: int) -> None:
        self.wire.send_message(body, channel=channel, stream=stream)

    async def send_data(self, payload: bytes, *, channel: Channel, stream: int) -> None:
        await anyio.to_thread.run_sync(partial(self.wire.send_data, payload, channel=channel, stream=stream))

    def send_end(self, *, channel: Channel, stream: int) -> None:
        self.wire.send_end(channel=channel, stream=stream)

    def send_reset(self, body: dict[str, Any], *, channel: Channel, stream: int) -> None:
        self.wire.send_reset(body, channel=channel, stream=stream)

    def acknowledge(self, data: Data) -> None:
        self.wire.acknowledge(data)


@contextmanager
def open_way(monkeypatch: pytest.MonkeyPatch, egress: Egress) -> Iterator[Host]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(proxy, "PORT", free.getsockname()[1])
    monkeypatch.setattr(proxy, "_offered", {})
    host = Host(egress)

    def tell(event: LinkEvent) -> None:
        inside.on_event(event)

    agent, host.wire = connect(inside=tell, outside=host.hear)
    inside = proxy.Proxy(agent)
    inside.start()
    yield host
    host.close()


@pytest.fixture
def server() -> Iterator[int]:
    """Says what it was asked, or how what it was sent looked; its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = f"{self.path} {self.headers.get('Proxy-Connection')}".encode()
            self._answer(os.urandom(8 * MIB) if self.path == "/big" else body)

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(hashlib.sha256(sent).hexdigest().encode())

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Digest", hashlib.sha256(body).hexdigest())
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running.server_address[1]
    running.shutdown()
    running.server_close()


def ask(url: str, body: bytes | None = None) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.PORT, timeout=5)
    connection.request("GET" if body is None else "POST", url, body)
    return connection.getresponse()


def tunnel(host: str, port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.PORT, timeout=5)
    connection.set_tunnel(host, port)
    return connection


def test_plain_requests_and_tunnels_reach_what_is_on_the_list(monkeypatch: pytest.MonkeyPatch, server: int) -> None:
    with open_way(monkeypatch, Egress([f"localhost:{server}"], HERE)) as host:
        response = ask(f"http://localhost:{server}/a?b=c")
        assert (response.status, response.read()) == (200, b"/a?b=c None")
        through = tunnel("LOCALHOST.", server)
        sent = os.urandom(8 * MIB)
        through.request("POST", "/", sent)
        assert through.getresponse().read().decode() == hashlib.sha256(sent).hexdigest()
        through.request("GET", "/big")
        answer = through.getresponse()
        assert hashlib.sha256(answer.read()).hexdigest() == answer.headers["X-Digest"]
        through.close()
        plain, tunnelled = sorted(host.await_records(2), key=lambda record: record.received)
        assert (plain.host, plain.port, plain.address, plain.refused) == ("localhost", server, "127.0.0.1", None)
        assert tunnelled.sent > 8 * MIB < tunnelled.received
        assert tunnelled.seconds > 0


@pytest.mark.parametrize(
    ("listed", "networks", "host", "words"),
    [
        ("other.example", HERE, "localhost", "is not on the list"),
        ("localhost:1", HERE, "localhost", "is not on the list"),
        ("localhost:{port}", [], "localhost", "this machine"),
        ("localhost:{port}", ["10.0.0.0/8"], "localhost", "this machine"),
        ("169.254.169.254:{port}", HERE, "169.254.169.254", "link-local"),
        ("missing.invalid:{port}", HERE, "missing.invalid", "cannot be looked up"),
    ],
    ids=["another name", "another port", "leads here", "leads elsewhere", "credentials", "no such name"],
)
def test_what_is_not_let_through_is_told_to_whoever_asks(
    monkeypatch: pytest.MonkeyPatch, server: int, listed: str, networks: list[str], host: str, words: str
) -> None:
    with open_way(monkeypatch, Egress([listed.format(port=server)], networks)) as way:
        response = ask(f"http://{host}:{server}/")
        assert response.status == 403
        assert words in response.read().decode()
        with pytest.raises(OSError, match="403"):
            tunnel(host, server).request("GET", "/")
        assert all(words in str(record.refused) for record in way.await_records(2))
        assert {record.sent + record.received for record in way.records} == {0}


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open_way(monkeypatch, Egress([f"localhost:{port}"], HERE)) as host:
        assert ask(f"http://localhost:{port}/").status == 403
        assert "does not answer" in str(host.await_records(1)[0].refused)


def test_the_budgets_end_a_connection_and_refuse_the_next(monkeypatch: pytest.MonkeyPatch, server: int) -> None:
    with open_way(monkeypatch, Egress([f"localhost:{server}"], HERE, traffic=MIB)) as host:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            ask(f"http://localhost:{server}/big").read()
        assert ask(f"http://localhost:{server}/").status == 403
        assert all("Egress.traffic" in str(record.refused) for record in host.await_records(2))
        assert sum(record.received for record in host.records) <= MIB
    with open_way(monkeypatch, Egress([f"localhost:{server}"], HERE, connections=2)) as host:
        assert [ask(f"http://localhost:{server}/").status for _ in range(3)] == [200, 200, 403]
        refused = [str(record.refused) for record in host.await_records(3)]
        assert sum("Egress.connections" in each for each in refused) == 1


def test_what_is_no_request_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_way(monkeypatch, Egress(["localhost"], HERE)) as host:
        assert ask("/metrics").status == 400
        assert host.records == []


def test_a_half_closed_connection_goes_on_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    class Echo(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            said = self.rfile.read()  # up to the end
            self.wfile.write(said[::-1])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as echo:
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        port = echo.server_address[1]
        with open_way(monkeypatch, Egress([f"localhost:{port}"], HERE)) as host:
            with socket.create_connection(("127.0.0.1", proxy.PORT), timeout=5) as client:
                client.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\n\r\nabc".encode())
                client.shutdown(socket.SHUT_WR)
                said = b"".join(iter(lambda: client.recv(65536), b""))
            assert said.endswith(b"\r\n\r\ncba")
            (record,) = host.await_records(1)
            assert (record.sent, record.received, record.refused) == (3, 3, None)
        echo.shutdown()


def test_a_client_that_goes_away_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()

    class Listening(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while True:
                try:
                    self.wfile.write(bytes(65536))
                except OSError:
                    break
            gone.set()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Listening) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        with open_way(monkeypatch, Egress([f"localhost:{port}"], HERE)) as host:
            with socket.create_connection(("127.0.0.1", proxy.PORT), timeout=5) as client:
                client.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode())
                assert client.recv(1)
            assert gone.wait(20)
            host.await_records(1)
        server.shutdown()


def test_no_more_at_once_than_there_may_be(monkeypatch: pytest.MonkeyPatch, server: int) -> None:
    monkeypatch.setattr(module, "_MAX_STREAMS", 2)
    with open_way(monkeypatch, Egress([f"localhost:{server}"], HERE)):
        held = [tunnel("localhost", server) for _ in range(2)]
        for each in held:
            each.connect()
        assert ask(f"http://localhost:{server}/").status == 403
        held[0].close()
        deadline = time.monotonic() + 20
        while ask(f"http://localhost:{server}/").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)


class Stuck(socketserver.ThreadingTCPServer):
    """Reads nothing, or writes without end, as the first byte that it hears says."""

    daemon_threads = True

    def __init__(self) -> None:
        self.over = threading.Event()
        stuck = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                if self.request.recv(1) == b"w":
                    with suppress(OSError):
                        while True:
                            self.request.sendall(bytes(65536))
                stuck.over.wait(20)

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def reach(self, word: bytes) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", proxy.PORT), timeout=5)
        client.sendall(f"CONNECT localhost:{self.server_address[1]} HTTP/1.1\r\n\r\n".encode())
        while not client.recv(4096).endswith(b"\r\n\r\n"):
            pass
        client.sendall(word)
        return client

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


def test_connections_in_which_nobody_reads_hold_up_no_other(monkeypatch: pytest.MonkeyPatch, server: int) -> None:
    with Stuck() as stuck:
        places = [f"localhost:{server}", f"localhost:{stuck.server_address[1]}"]
        with open_way(monkeypatch, Egress(places, HERE)) as host:
            unread = [
                stuck.reach(b"w") for _ in range(12)
            ]  # 12 times what one may have under way is more than a window
            unheard = [stuck.reach(b"r") for _ in range(12)]
            for client in unheard:
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.sendall(bytes(16 * MIB))
            body = os.urandom(MIB)
            digest = ask(f"http://localhost:{server}/", body).read().decode()
            assert digest == hashlib.sha256(body).hexdigest()
            stuck.over.set()
            for client in (*unread, *unheard):
                client.close()
            assert [record.refused for record in host.await_records(25)] == [None] * 25


def test_a_container_that_sends_more_than_there_is_room_for_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "STREAM_WINDOW", 1024 * MIB)
    with Stuck() as stuck, open_way(monkeypatch, Egress([f"localhost:{stuck.server_address[1]}"], HERE)) as host:
        client = stuck.reach(b"r")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            client.sendall(bytes(64 * MIB))
        (record,) = host.await_records(1)
        assert record.refused == "it sent more than there was room for"
        client.close()


def test_a_name_that_takes_too_long_to_be_looked_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(module, "_LOOKUP_LIMIT", 0.1)
    monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_, **__: answered.wait(20) and [])
    with open_way(monkeypatch, Egress(["slow.example.org"])) as host:
        way = http.client.HTTPConnection("localhost", proxy.PORT, timeout=5)
        way.sock = connect_directly(proxy.PORT)
        way.request("GET", "http://slow.example.org/")
        response = way.getresponse()
        answered.set()
        assert (response.status, "it took too long" in response.read().decode()) == (403, True)
        assert "cannot be looked up: it took too long" in str(host.await_records(1)[0].refused)


def test_who_does_not_come_to_the_end_of_a_request_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_HEAD_LIMIT", 0.2)
    with open_way(monkeypatch, Egress(["localhost"], HERE)) as host:
        for said in (b"", b"GET http://localhost/ HTTP/1.1\r\nX: "):
            with socket.create_connection(("127.0.0.1", proxy.PORT), timeout=5) as client:
                client.sendall(said)
                assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
        with socket.create_connection(("127.0.0.1", proxy.PORT), timeout=5) as client:
            began = time.monotonic()
            with suppress(OSError):
                while time.monotonic() - began < 10:  # a line every now and then is no way to stay
                    client.sendall(b"X: y\r\n")
                    time.sleep(0.05)
            assert time.monotonic() - began < 10
        assert host.records == []


def connect_directly(port: int) -> socket.socket:
    """A connection without a name that would have to be looked up."""
    client = socket.socket()
    client.settimeout(5)
    client.connect(("127.0.0.1", port))
    return client
