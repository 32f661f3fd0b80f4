"""What is said in a run's model calls, for whoever traces it in full. Bounded, whether somebody takes it or not.

It is collected only where somebody has asked for it, never enters the run's events, and is let go of as it is taken:
of calls that nobody takes, the latest few are kept.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from langchain_sandbox.gateway.spoken import Answer, Spoken, read_request

if TYPE_CHECKING:
    from langchain_sandbox.gateway.call import Sink

_UNTAKEN = 8  # calls


class Contents:
    """The contents of one run's model calls. Filled on the portal's loop, taken in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[int, list[Spoken]] = {}
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
        request, answer = read_request(body.get("messages")), Answer()
        with self._lock:
            self._requests[index] = request
            self._answers[index] = answer
            for kept in (self._requests, self._answers):
                for oldest in [known for known in kept if known <= index - _UNTAKEN]:
                    del kept[oldest]
        return _Listener(sink, answer)

    def take_request(self, index: int) -> list[Spoken]:
        """The messages of a call; nothing if they were let go of."""
        with self._lock:
            return self._requests.pop(index, [])

    def take_answer(self, index: int) -> Spoken:
        """The answer to a call, as far as it came."""
        with self._lock:
            answer = self._answers.pop(index, None)
        return answer.build() if answer is not None else Spoken()


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
