"""A model server that is down, busy, silent or speaks without end: what each costs, and what the result says."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from langchain_sandbox import Limits, ModelEndpoint, Sandbox
from langchain_sandbox.gateway import http_call
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from langchain_sandbox import SandboxResult

LIMITS = Limits(memory="1g", workspace="64m", home="64m", tmp="64m", first_byte=2, idle=2)
ENDLESS = 2 << 20  # bytes that the endless answer has, of which half are too many here


class Answering(BaseHTTPRequestHandler):
    """A server that answers each chat as its own class says."""

    def do_GET(self) -> None:
        self._send(200, json.dumps({"data": [{"id": "m", "max_model_len": 65536}]}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.chats += 1  # type: ignore[attr-defined]
        self.chat()

    def chat(self) -> None:
        """Answer."""
        self._send(503, b"loading the model")

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Busy(Answering):
    """Says when to come back."""

    def chat(self) -> None:
        self._send(503, b"loading the model", **{"Retry-After": "0"})


class Endless(Answering):
    """Speaks without end."""

    def chat(self) -> None:
        piece = {"choices": [{"index": 0, "delta": {"content": "x" * 8000}}]}
        line = f"data: {json.dumps(piece)}\n\n".encode()
        self._send(200, line * (ENDLESS // len(line)), **{"Content-Type": "text/event-stream"})


class Silent(Answering):
    """Takes a chat and says nothing."""

    def chat(self) -> None:
        time.sleep(4)


@contextmanager
def served(handler: type[Answering]) -> Iterator[tuple[ModelEndpoint, ThreadingHTTPServer]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.chats = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield ModelEndpoint(f"http://127.0.0.1:{server.server_port}/v1"), server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(handler: type[Answering]) -> tuple[SandboxResult, int]:
    """How a run ends with such a server, and how many chats it saw."""
    with served(handler) as (endpoint, server):
        result = Sandbox(model=endpoint, limits=LIMITS).run("Work.", timeout=120)
        return result, server.chats  # type: ignore[attr-defined]


def test_r8_a_server_that_refuses_hangs_or_never_ends_is_told(
    monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setattr(http_call, "MAX_ANSWER", ENDLESS // 2)
    with ThreadPoolExecutor(2) as threads:
        kinds = (Answering, Busy, Silent, Endless)
        (refused, refusals), (busy, visits), (silent, _), (endless, _) = threads.map(ask, kinds)
    codes = {each.ending.code for each in (refused, busy)}
    assert codes == {"http_503"}
    assert refusals == visits == 3
    for each, code in ((refused, "http_503"), (silent, "model_timeout"), (endless, "answer_too_long")):
        assert (each.status, each.ending.code) == ("model_error", code)
        assert each.ending.message
        assert "model server's log" in each.ending.hint
        assert each.evidence.cleanup_confirmed
    assert "loading the model" in refused.ending.message
    assert refused.model_calls[0].duration > busy.model_calls[0].duration  # who is told when to come back comes then
    longest = max(each.model_calls[0].duration for each in (refused, busy, endless))
    assert longest < 60
    record_property("R8", f"refused, busy or without end: {longest:.0f} s at most")


def test_r8_a_server_that_is_down_is_told_within_five_seconds(record_property: Callable[[str, object], None]) -> None:
    with ScriptedModel([], fault="refused") as model:
        began = time.monotonic()
        result = Sandbox(model=model.endpoint, limits=LIMITS).run("Work.")
        took = time.monotonic() - began
    assert result.status == "model_unreachable"
    assert "SANDBOX_MODEL_BASE_URL" in result.ending.hint
    assert took <= 5.0
    record_property("R8", f"down: {took:.1f} s")
