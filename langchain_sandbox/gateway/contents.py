"""What is said to the model and by it, for whoever traces a run in full. Bounded, whoever reads it or does not.

It is collected only where somebody has asked for it, never enters the run's events, and is let go of as it is taken:
of calls that nobody takes, the latest few are kept.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from langchain_sandbox.untrusted import clean_json, clean_text

if TYPE_CHECKING:
    from langchain_sandbox.gateway.call import Sink

MAX_REQUEST = 512 * 1024
"""Characters of a request's messages that are kept."""
MAX_ANSWER = 64 * 1024
"""Characters of an answer that are kept."""

_UNTAKEN = 8  # calls
_MESSAGES = 200
_MESSAGE = 32 * 1024
_LINE = 1024 * 1024
_CALLS = 50
_NAME = 200


class Contents:
    """The contents of one run's model calls. Filled on the portal's loop, taken in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[int, list[Any]] = {}
        self._answers: dict[int, Answer] = {}

    def follow(self, index: int, body: dict[str, Any], sink: Sink) -> Sink:
        """Keep a call's request, and listen to its answer.

        Args:
            index: The call's.
            body: The request. Untrusted.
            sink: Takes the answer.

        Returns:
            What takes the answer now: it gives it on.
        """
        answer = Answer()
        with self._lock:
            self._requests[index] = bound_messages(body.get("messages"))
            self._answers[index] = answer
            for kept in (self._requests, self._answers):
                while len(kept) > _UNTAKEN:
                    del kept[min(kept)]
        return _Listener(sink, answer)

    def take_request(self, index: int) -> list[Any]:
        """The messages of a call, as OpenCode wrote them, bounded; nothing if they were let go of."""
        with self._lock:
            return self._requests.pop(index, [])

    def take_answer(self, index: int) -> dict[str, Any]:
        """The answer to a call, as far as it came: `text`, and `tool_calls` with `id`, `name` and `arguments`."""
        with self._lock:
            answer = self._answers.pop(index, None)
        return answer.build() if answer is not None else {"text": "", "tool_calls": []}


def bound_messages(messages: object) -> list[Any]:
    """The latest messages that there is room for, and the first one, which has the instructions; texts are cut.

    Args:
        messages: As they came; nothing is sure of them.
    """
    if not isinstance(messages, list) or not messages:
        return []
    first, *others = messages
    kept, room = [], MAX_REQUEST - _MESSAGE
    for message in reversed(others[-_MESSAGES:]):
        budget = [min(_MESSAGE, room)]
        given = budget[0]
        kept.append(clean_json(message, budget=budget))
        room -= given - max(0, budget[0])
        if room <= 0:
            break
    missing = len(others) - len(kept)
    note = [{"role": "system", "content": f"[{missing} earlier messages are left out]"}] if missing else []
    return [clean_json(first, budget=[_MESSAGE]), *note, *reversed(kept)]


class Answer:
    """An answer as it streams by: its text and its tool calls, put together and bounded. Pure, and tolerant."""

    def __init__(self) -> None:
        self.streamed = True
        self._partial = bytearray()
        self._texts: list[str] = []
        self._calls: dict[int, dict[str, str]] = {}
        self._room = MAX_ANSWER

    def feed(self, data: bytes) -> None:
        """Take the next bytes; what there is no room for is not looked at."""
        if self._room <= 0 or len(self._partial) + len(data) > _LINE:
            self._partial.clear()
            return
        self._partial += data
        if self.streamed:
            whole, _, rest = bytes(self._partial).rpartition(b"\n")
            self._partial = bytearray(rest)
            for line in whole.split(b"\n"):
                if line.startswith(b"data:"):
                    self._read(line[5:], "delta")

    def build(self) -> dict[str, Any]:
        """What has come until now."""
        if not self.streamed:
            self._read(bytes(self._partial), "message")
            self._partial.clear()
        return {"text": "".join(self._texts), "tool_calls": [self._calls[index] for index in sorted(self._calls)]}

    def _read(self, payload: bytes, key: str) -> None:
        try:
            part = json.loads(payload)["choices"][0][key]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            return
        if not isinstance(part, dict):
            return
        self._texts.append(self._cut(part.get("content")))
        calls = part.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else []):
            self._read_call(place, call)

    def _read_call(self, place: int, call: object) -> None:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            return
        told = call.get("index")
        index = told if type(told) is int else place
        if index not in self._calls and len(self._calls) >= _CALLS:
            return
        kept = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
        kept["id"] = kept["id"] or clean_text(call.get("id"), _NAME)
        kept["name"] = kept["name"] or clean_text(function.get("name"), _NAME)
        kept["arguments"] += self._cut(function.get("arguments"))

    def _cut(self, value: object) -> str:
        text = clean_text(value, max(0, self._room))
        self._room -= len(text)
        return text


class _Listener:
    """Gives an answer on, and has it read along."""

    def __init__(self, sink: Sink, answer: Answer) -> None:
        self._sink = sink
        self._answer = answer

    def begin(self, status: int, content_type: str) -> None:
        self._answer.streamed = content_type.startswith("text/event-stream")
        self._sink.begin(status, content_type)

    async def write(self, data: bytes) -> None:
        self._answer.feed(data)
        await self._sink.write(data)

    def end(self) -> None:
        self._sink.end()
