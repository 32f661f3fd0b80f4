"""What tests of traces share: a tracer that keeps the tree, and an endpoint for LangSmith's client."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from langchain_core.tracers import LangChainTracer
from langchain_core.tracers.base import BaseTracer
from langsmith import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from langchain_core.tracers.schemas import Run


class Tree(BaseTracer):
    """Keeps the runs that it is told of, with their children.

    Attributes:
        roots: Runs without a parent that are over.
    """

    def __init__(self) -> None:
        super().__init__(_schema_format="original+chat")
        self.roots: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)

    def find(self, name: str) -> list[Run]:
        """All runs of a name, in the order in which they began."""
        return [run for root in self.roots for run in walk(root) if run.name == name]


def walk(run: Run) -> Iterator[Run]:
    """A run and all below it."""
    yield run
    for child in run.child_runs:
        yield from walk(child)


def draw(run: Run, depth: int = 0) -> str:
    """A run and all below it, as indented lines: name, kind, and how it ended."""
    ended = "unfinished" if run.end_time is None else "error" if run.error else "ok"
    lines = [f"{'  ' * depth}{run.name} ({run.run_type}): {ended}"]
    return "\n".join([*lines, *(draw(child, depth + 1) for child in run.child_runs)])


class LangSmithEndpoint:
    """Takes what LangSmith's client sends, on loopback. `sent` is all of it, as text.

    Example:
        ```python
        with LangSmithEndpoint() as endpoint:
            tracer = endpoint.tracer()
            tool.invoke(call, {"callbacks": [tracer]})
            tracer.client.flush()
        assert "secret" not in endpoint.sent
        ```
    """

    def __init__(self) -> None:
        bodies: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({"version": "0.13.0"})

            def do_POST(self) -> None:
                body = self._read()
                assert self.headers.get("Content-Encoding") is None
                bodies.append(body)
                self._answer({})

            do_PATCH = do_POST  # noqa: N815 - http.server wants it so

            def _read(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _answer(self, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._bodies = bodies
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def tracer(self, hide: Callable[[Any], Any] | None = None) -> LangChainTracer:
        """A tracer whose client sends to here."""
        client = Client(api_url=self.url, api_key="none", hide_inputs=hide, hide_outputs=hide)
        return LangChainTracer(client=client, project_name="test")

    @property
    def sent(self) -> str:
        """Everything that has arrived."""
        return b"\n".join(self._bodies).decode("utf-8", "replace")

    def of(self, runs: Iterable[Run]) -> str:
        """What has arrived of some runs."""
        ids = {str(run.id) for run in runs}
        parts = [part for body in self._bodies for part in body.split(b"Content-Disposition: form-data; name=")[1:]]
        told = [part for part in parts if part.partition(b"\r\n")[0].decode().strip('"').split(".")[1] in ids]
        return b"\n".join(told).decode("utf-8", "replace")
