"""The model's address between two tasks: nobody is answered, and nothing of the link's window stays with who asked."""

from __future__ import annotations

import http.client
import os
import queue
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from wires import connect

from langchain_sandbox.agent import endpoint
from langchain_sandbox.link import WINDOW, Channel, Data, End, LinkEvent, Message, Reset

if TYPE_CHECKING:
    from langchain_sandbox.agent.wire import Wire

pytestmark = pytest.mark.timeout(60)
MODEL = Channel.MODEL


class Host:
    """The host's end; it acknowledges what it hears."""

    def __init__(self) -> None:
        self.heard: list[LinkEvent] = []
        self.changed = threading.Condition()
        self.agent: endpoint.Endpoint | None = None
        self.wire: Wire | None = None

    def hear(self, event: LinkEvent) -> None:
        if isinstance(event, Data) and self.wire is not None:
            self.wire.acknowledge(event)
        with self.changed:
            self.heard.append(event)
            self.changed.notify_all()

    def tell(self, event: LinkEvent) -> None:
        if self.agent is not None:
            self.agent.on_event(event)

    def await_streams(self, kind: type[LinkEvent], count: int = 1) -> list[int]:
        """Wait until streams have got to something, and return their numbers."""

        def find() -> list[int]:
            return [event.stream for event in self.heard if isinstance(event, kind)]

        with self.changed:
            assert self.changed.wait_for(lambda: len(find()) >= count, 20)
            return find()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(endpoint, "PORT", free.getsockname()[1])
    found = Host()
    agent, found.wire = connect(inside=found.tell, outside=found.hear)
    found.agent = endpoint.Endpoint(agent)
    found.agent.start()
    return found


def ask(content: bytes = b"{}") -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.PORT, timeout=20)
    connection.request("POST", "/v1/chat/completions", content)
    return connection


def test_who_waits_is_broken_off_and_the_host_told(host: Host) -> None:
    assert host.agent is not None
    waiting = ask()
    asked = host.await_streams(End)
    host.agent.end_all()
    assert host.await_streams(Reset) == asked
    with pytest.raises((http.client.HTTPException, OSError)):
        waiting.getresponse().read()


def test_nobody_may_ask_until_it_is_opened_again(host: Host) -> None:
    assert host.agent is not None
    host.agent.end_all()
    assert ask().getresponse().status == 503
    assert host.heard == []
    host.agent.reopen()
    ask()
    assert len(host.await_streams(Message)) == 1


def test_what_a_stopped_program_does_not_take_is_not_missing_for_the_next_task(host: Host) -> None:
    assert host.agent is not None
    assert host.wire is not None
    deaf = ask()
    assert deaf.sock is not None
    deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    (stream,) = host.await_streams(End)
    head = {"status": 200, "content_type": "text/plain"}
    host.wire.send_message(head, channel=MODEL, stream=stream)
    wire, sent = host.wire, threading.Event()

    def flood() -> None:
        for _ in range(8 * WINDOW // 65536):
            wire.send_data(os.urandom(65536), channel=MODEL, stream=stream)
        sent.set()

    threading.Thread(target=flood, daemon=True).start()
    assert not sent.wait(0.5)
    host.agent.end_all()
    assert sent.wait(20)
    host.agent.reopen()
    hearing = ask()
    stream = host.await_streams(End, 2)[-1]
    host.wire.send_message(head, channel=MODEL, stream=stream)
    for _ in range(2 * WINDOW // 65536):
        host.wire.send_data(bytes(65536), channel=MODEL, stream=stream)
    host.wire.send_end(channel=MODEL, stream=stream)
    assert len(hearing.getresponse().read()) == 2 * WINDOW


HEAD = Message(MODEL, 1, {"status": 200, "content_type": "text/plain"})
BEGINNING = (
    b"HTTP/1.1 200 Relayed\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)


@pytest.mark.parametrize(
    ("came", "sent"),
    [
        ([HEAD], BEGINNING),
        ([HEAD, Data(MODEL, 1, b"ab"), Data(MODEL, 1, b"c"), End(MODEL, 1)], BEGINNING + b"3\r\nabc\r\n0\r\n\r\n"),
        ([Data(MODEL, 1, bytes(16)), Reset(MODEL, 1, {})], b"10\r\n" + bytes(16) + b"\r\n"),
        ([End(MODEL, 1)], b"0\r\n\r\n"),
        ([Reset(MODEL, 1, {})], b""),
    ],
)
def test_what_has_come_of_an_answer_is_given_on_in_one_piece(came: list[LinkEvent], sent: bytes) -> None:
    answers: queue.SimpleQueue[LinkEvent] = queue.SimpleQueue()
    for event in came:
        answers.put(event)
    assert endpoint._take(answers) == came
    assert endpoint._build_answer(came) == sent
