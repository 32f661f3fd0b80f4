"""Ways out that stay open: many at once, one that nobody reads, those that a run leaves behind, and every face's."""

from __future__ import annotations

import socketserver
import threading
import time
from typing import TYPE_CHECKING

import pytest
from mcp_sides import RUN, stdio
from support import bash, say, told, wait_until

from langchain_sandbox import Egress, Sandbox
from langchain_sandbox.shell import Shell
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLACE = "127.0.0.2"
LOOPBACK = ["127.0.0.0/8"]
AT_ONCE = 64
PIECE = 65536
CROWD = """
import socket, sys, threading
port, most = int(sys.argv[1]), int(sys.argv[2])
def reach(word):
    way = socket.create_connection(("127.0.0.1", 4001), timeout=30)
    way.sendall(b"CONNECT 127.0.0.2:%d HTTP/1.1\\r\\n\\r\\n" % port)
    head = b""
    while not head.endswith(b"\\r\\n\\r\\n"):
        head += way.recv(1)
    if b" 200 " not in head:
        return way, way.recv(4096).decode().strip()
    way.sendall(word)
    return way, None
ways = [reach(b"endless\\n") for _ in range(1)]  # from which nothing is read
ways += [reach(b"wait\\n") for _ in range(most - 1)]
print("refused:", reach(b"wait\\n")[1])
counts = []
def read(way):
    way.sendall(b"go\\n")
    counts.append(sum(len(piece) for piece in iter(lambda: way.recv(65536), b"")))
threads = [threading.Thread(target=read, args=(way,)) for way, _ in ways[1:]]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("read:", len(counts), *sorted(set(counts)))
"""
HOLD = f"""python3 -c "
import socket, time
way = socket.create_connection(('127.0.0.1', 4001))
way.sendall(b'CONNECT {PLACE}:%d HTTP/1.1\\r\\n\\r\\nendless\\n')
print(len(way.recv(100)), flush=True)
open('/tmp/held', 'w').close()
time.sleep(600)
" >/dev/null 2>&1 &
until [ -e /tmp/held ]; do sleep 0.1; done"""
ASK = f"""python3 -c "
import urllib.request
print(urllib.request.urlopen('http://{PLACE}:%d/').read().decode())
" """


class Place(socketserver.ThreadingTCPServer):
    """Obeys the first word it hears: `endless` has it write until nobody listens, `wait` until the next, then 4 pieces.

    To a request it says hello.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        self.left = 0
        self.wrote = 0
        place = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                word = self.rfile.readline().strip()
                try:
                    if word == b"endless":
                        while True:
                            place.wrote += self.connection.send(bytes(PIECE))
                    if word == b"wait":
                        self.rfile.readline()
                        self.wfile.write(bytes(4 * PIECE))
                    else:
                        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nhello")
                except OSError:
                    pass
                finally:
                    place.left += 1

        super().__init__((PLACE, 0), Handler)
        self.port = self.server_address[1]

    @property
    def egress(self) -> Egress:
        return Egress([f"{PLACE}:{self.port}"], networks=LOOPBACK)


@pytest.fixture
def place() -> Iterator[Place]:
    with Place() as place:
        thread = threading.Thread(target=place.serve_forever, name="place")
        thread.start()
        yield place
        place.shutdown()
        thread.join()


def test_as_many_at_once_as_there_may_be_and_one_that_reads_nothing_holds_nobody_up(place: Place) -> None:
    with Shell(egress=place.egress) as shell:
        said = shell.execute(["python3", "-c", CROWD, str(place.port), str(AT_ONCE)], timeout=60)
        wrote = place.wrote
        result = shell.finish()
    assert said.ok, said.text
    refused, read = said.text.splitlines()
    assert refused == (f"refused: The sandbox does not let this through: more than {AT_ONCE} connections at once."), (
        said.text
    )
    assert read == f"read: {AT_ONCE - 1} {4 * PIECE}"
    assert wrote < 16 * 1024 * 1024  # what nobody reads stays where it is, but for what fits on the way
    assert len(result.connections) == AT_ONCE
    assert [each.refused for each in result.connections] == [None] * AT_ONCE
    wait_until(lambda: place.left == AT_ONCE, 10)


def test_a_run_that_ends_closes_the_ways_that_are_open_and_tells_of_them(repository: Path, place: Place) -> None:
    with ScriptedModel([bash(HOLD % place.port), say("Held.")]) as model:
        began = time.monotonic()
        result = Sandbox(model=model.endpoint, workspace=repository, egress=place.egress).run("Hold it.")
        took = time.monotonic() - began
    assert result.ok, result.ending
    assert took < 60
    wait_until(lambda: place.left == 1, 10)
    (held,) = result.connections
    assert (held.host, held.port, held.refused) == (PLACE, place.port, None)
    assert held.received > 0
    assert held.seconds > 0


def test_each_task_of_a_session_has_its_own(repository: Path, place: Place) -> None:
    turns = [bash(ASK % place.port), say("One."), say("None."), bash(ASK % place.port), bash(ASK % place.port), say()]
    egress = Egress([f"{PLACE}:{place.port}"], networks=LOOPBACK, connections=1)
    with (
        ScriptedModel(turns) as model,
        Sandbox(model=model.endpoint, workspace=repository, egress=egress).session() as session,
    ):
        results = [session.run(task) for task in ("Ask.", "Do nothing.", "Ask twice.")]
    assert [result.status for result in results] == ["completed"] * 3
    assert [[each.refused for each in result.connections] for result in results] == [
        [None],
        [],
        [None, "more than 1 connections (Egress.connections)"],
    ]
    for result in results:
        assert all(0 <= each.at <= result.timings.total for each in result.connections)


async def test_over_mcp_the_environment_opens_it_and_the_result_tells(repository: Path, place: Place) -> None:
    environ = {"SANDBOX_EGRESS": f"{PLACE}:{place.port}", "SANDBOX_EGRESS_NETWORKS": "127.0.0.0/8"}
    with ScriptedModel([bash(ASK % place.port), say("Asked.")]) as model:
        options = ["--workspace", str(repository), "--model", model.endpoint.base_url]
        async with stdio(*options, folder=repository, environ=environ) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            called = await client.call_tool(RUN, {"task": "Ask."})
    assert tools[RUN].annotations.open_world_hint
    assert f"without network but for {PLACE}:{place.port}" in tools[RUN].description
    assert not called.is_error, called
    (asked,) = called.structured_content["connections"]
    assert (asked["host"], asked["port"], asked["address"]) == (PLACE, place.port, PLACE)
    assert told(model)[0].strip().startswith("hello")
