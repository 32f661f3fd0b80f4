"""The model of a host agent such as Claude Code or Codex, scripted: it calls one tool, then says what came back.

Each host speaks its own maker's API, so there are two dialects of the same script. Only what the hosts use is there.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST_WORDS = "The sandbox has answered."


class HostModel:
    """Listens on loopback and answers every conversation alike.

    Args:
        tool: The tool to call, by the name that the host gives it.
        arguments: What it is called with.
    """

    def __init__(self, tool: str, arguments: dict[str, Any]) -> None:
        self.tool = tool
        self.arguments = arguments
        self.offered: set[str] = set()
        """Names of the tools that the host has offered."""
        self.answered: list[Any] = []
        """What the host gave back for the call, as its model sees it."""
        handler = type("_Bound", (_Handler,), {"script": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def is_over(self, results: list[Any], tools: list[str]) -> bool:
        """Note what a request holds, and say whether the tool has been called."""
        self.offered |= set(tools)
        self.answered = results or self.answered
        return bool(results) or self.tool not in tools


class _Handler(BaseHTTPRequestHandler):
    script: ClassVar[HostModel]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        path = self.path.partition("?")[0]
        with suppress(ConnectionError):
            if path.endswith("/v1/messages"):
                self._stream(speak_messages(self.script, body))
            elif path.endswith("/responses"):
                self._stream(speak_responses(self.script, body))
            else:
                self._answer({"input_tokens": 1})

    def do_GET(self) -> None:
        self._answer({"object": "list", "data": [{"id": "scripted", "object": "model"}], "models": []})

    def do_HEAD(self) -> None:
        self._answer({})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Keep the test's output clean."""

    def _answer(self, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _stream(self, events: Iterator[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        self.close_connection = True


def speak_messages(script: HostModel, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An answer in Anthropic's Messages API, streamed."""
    parts = [
        part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    results = [part["content"] for part in parts if part["type"] == "tool_result"]
    over = script.is_over(results, [tool["name"] for tool in body.get("tools", [])])
    usage = {"input_tokens": 1, "output_tokens": 1}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": []}
    yield {"type": "message_start", "message": {**head, "stop_reason": None, "stop_sequence": None, "usage": usage}}
    if over:
        block: dict[str, Any] = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": LAST_WORDS}
    else:
        block = {"type": "tool_use", "id": "toolu_1", "name": script.tool, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(script.arguments)}
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    ending = {"stop_reason": "end_turn" if over else "tool_use", "stop_sequence": None}
    yield {"type": "message_delta", "delta": ending, "usage": usage}
    yield {"type": "message_stop"}


def speak_responses(script: HostModel, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An answer in OpenAI's Responses API, streamed."""
    results = [item["output"] for item in body["input"] if item.get("type") == "function_call_output"]
    tools = list(_name_tools(body.get("tools", [])))
    if script.is_over(results, tools):
        content = [{"type": "output_text", "text": LAST_WORDS, "annotations": []}]
        item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    else:
        space, _, name = script.tool.rpartition("/")
        item = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": name,
            "arguments": json.dumps(script.arguments),
            "status": "completed",
            **({"namespace": space} if space else {}),
        }
    response = {"id": "resp_1", "object": "response", "status": "in_progress", "model": body["model"], "output": []}
    yield {"type": "response.created", "response": response}
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    yield {
        "type": "response.completed",
        "response": {**response, "status": "completed", "output": [item], "usage": usage},
    }


def _name_tools(tools: list[dict[str, Any]], space: str = "") -> Iterator[str]:
    for tool in tools:
        if tool["type"] == "namespace":
            yield from _name_tools(tool["tools"], f"{tool['name']}/")
        elif "name" in tool:
            yield f"{space}{tool['name']}"
