"""What is said to a model and by it, as plain texts of bounded length. Pure, and tolerant: nothing is sure of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from langchain_sandbox.untrusted import clean_text

MAX_REQUEST = 512 * 1024
"""Characters of a request's messages that are kept."""
MAX_ANSWER = 64 * 1024
"""Characters of an answer that are kept."""

_MESSAGES = 200
_MESSAGE = 32 * 1024
_LINE = 1024 * 1024
_CALLS = 50
_BLOCKS = 200
_NAME = 200


@dataclass(slots=True, kw_only=True)
class SpokenCall:
    """A tool that a model calls; `arguments` is JSON text, or was meant to be."""

    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True, kw_only=True)
class Spoken:
    """A message.

    Args:
        role: Who says it, in the words of the request.
        text: What is said.
        calls: The tools that are called.
        call_id: The call that a tool's message answers.
    """

    role: str = "assistant"
    text: str = ""
    calls: list[SpokenCall] = field(default_factory=list)
    call_id: str = ""


class _Room:
    """Cuts texts, so that they have no more than so many characters together."""

    def __init__(self, left: int) -> None:
        self.left = left

    def cut(self, value: object) -> str:
        text = clean_text(value, max(0, self.left))
        self.left -= len(text)
        return text


def read_request(messages: object) -> list[Spoken]:
    """The latest messages that there is room for, and the first one, which has the instructions; texts are cut.

    Args:
        messages: A request's, as they came.
    """
    if not isinstance(messages, list) or not messages:
        return []
    first, *others = messages
    kept: list[Spoken] = []
    left = MAX_REQUEST - _MESSAGE
    for message in reversed(others[-_MESSAGES:]):
        if left <= 0:
            break
        room = _Room(min(_MESSAGE, left))
        left -= room.left
        kept.append(_read_message(message, room))
        left += room.left
    missing = len(others) - len(kept)
    note = [Spoken(role="system", text=f"[{missing} earlier messages are left out]")] if missing else []
    return [_read_message(first, _Room(_MESSAGE)), *note, *reversed(kept)]


class Answer:
    """An answer as it streams by: its text and its tool calls, put together."""

    def __init__(self) -> None:
        self.streamed = True
        """Whether it comes as events, and not as one JSON object; to be said before the first byte."""
        self._partial = bytearray()
        self._texts: list[str] = []
        self._calls: dict[int, SpokenCall] = {}
        self._room = _Room(MAX_ANSWER)

    def feed(self, data: bytes) -> None:
        """Take the next bytes; what there is no room for is not looked at."""
        if self._room.left <= 0 or len(self._partial) + len(data) > _LINE:
            self._partial.clear()
            return
        self._partial += data
        if self.streamed:
            whole, _, rest = bytes(self._partial).rpartition(b"\n")
            self._partial = bytearray(rest)
            for line in whole.split(b"\n"):
                if line.startswith(b"data:"):
                    self._read(line[5:], "delta")

    def build(self) -> Spoken:
        """What has come until now."""
        if not self.streamed:
            self._read(bytes(self._partial), "message")
            self._partial.clear()
        return Spoken(text="".join(self._texts), calls=[self._calls[index] for index in sorted(self._calls)])

    def _read(self, payload: bytes, key: str) -> None:
        try:
            part = json.loads(payload)["choices"][0][key]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            return
        if isinstance(part, dict):
            self._texts.append(self._room.cut(part.get("content")))
            _read_calls(part.get("tool_calls"), self._calls, self._room)


def _read_message(message: object, room: _Room) -> Spoken:
    if not isinstance(message, dict):
        return Spoken(role="", text=room.cut(message))
    calls: dict[int, SpokenCall] = {}
    spoken = Spoken(role=clean_text(message.get("role"), _NAME), call_id=clean_text(message.get("tool_call_id"), _NAME))
    spoken.text = _read_content(message.get("content"), room)
    _read_calls(message.get("tool_calls"), calls, room)
    spoken.calls = list(calls.values())
    return spoken


def _read_content(content: object, room: _Room) -> str:
    blocks = content[:_BLOCKS] if isinstance(content, list) else [content]
    return "\n".join(room.cut(_find_text(block)) for block in blocks)


def _find_text(block: object) -> object:
    """A block's text; of an image, say, only what it is."""
    if not isinstance(block, dict):
        return block
    text = block.get("text")
    return text if isinstance(text, str) else f"[{clean_text(block.get('type'), _NAME) or 'something'}]"


def _read_calls(calls: object, kept: dict[int, SpokenCall], room: _Room) -> None:
    """Add calls, or pieces of them, to those that are known by their numbers."""
    for place, call in enumerate(calls[:_CALLS] if isinstance(calls, list) else []):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            continue
        told = call.get("index")
        index = told if type(told) is int else place
        if index not in kept and len(kept) >= _CALLS:
            continue
        known = kept.setdefault(index, SpokenCall())
        known.id = known.id or clean_text(call.get("id"), _NAME)
        known.name = known.name or clean_text(function.get("name"), _NAME)
        known.arguments += room.cut(function.get("arguments"))
