"""Carries a run's events from the thread in which they happen to the thread or loop in which they are read.

Whoever produces never waits. A reader that is slow, or asleep, costs a bounded amount of memory: texts that nobody
has read are joined, and at a great many events the oldest are dropped, which a warning then says.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING

from langchain_sandbox.events import SandboxEvent, TextEvent, WarningEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

MAX_EVENTS = 10_000
_JOIN_LIMIT = 64 * 1024


class EventLog:
    """A queue between threads for one reader.

    Args:
        most: Events to keep for a reader that is slow; 0 where nobody will read.
    """

    def __init__(self, *, most: int = MAX_EVENTS) -> None:
        self._most = most
        self._events: deque[SandboxEvent] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._dropped = 0
        self._wakers: set[Callable[[], None]] = set()

    def put(self, event: SandboxEvent) -> None:
        """Add an event; never waits."""
        with self._changed:
            last = self._events[-1] if self._events else None
            joined = _join(last, event)
            if joined is not None:
                self._events[-1] = joined
            else:
                self._events.append(event)
            if len(self._events) > self._most:
                self._events.popleft()
                self._dropped += 1
            self._wake()

    def take(self) -> SandboxEvent | None:
        """The next event, if there is one already; never waits."""
        with self._changed:
            return self._take()

    def wait(self, *, unless: Callable[[], object]) -> SandboxEvent | None:
        """The next event, waited for; `None` where there will be none, or something else has come.

        Args:
            unless: Whether it has; asked again after each `nudge`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._closed or unless())
            return self._take()

    def nudge(self) -> None:
        """Have whoever waits look whether something else has come."""
        with self._changed:
            self._wake()

    def close(self) -> None:
        """No more events will come."""
        with self._changed:
            self._closed = True
            self._wake()

    def __iter__(self) -> Iterator[SandboxEvent]:
        """Read until the log is closed, waiting where nothing is there yet."""
        while (event := self.wait(unless=lambda: False)) is not None:
            yield event

    async def __aiter__(self) -> AsyncIterator[SandboxEvent]:
        """Read in an event loop until the log is closed."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ready.set)

        with self._changed:
            self._wakers.add(wake)
        try:
            while True:
                ready.clear()
                with self._changed:
                    event = self._take()
                    over = event is None and self._closed
                if event is not None:
                    yield event
                elif over:
                    return
                else:
                    await ready.wait()
        finally:
            with self._changed:
                self._wakers.discard(wake)

    def _take(self) -> SandboxEvent | None:
        if not self._events:
            return None
        if self._dropped:
            first, dropped = self._events[0], self._dropped
            self._dropped = 0
            msg = f"{dropped} events were dropped, since nobody read them"
            return WarningEvent(run_id=first.run_id, at=first.at, message=msg)
        return self._events.popleft()

    def _wake(self) -> None:
        self._changed.notify_all()
        for waker in self._wakers:
            waker()


def _join(last: SandboxEvent | None, event: SandboxEvent) -> TextEvent | None:
    """Two texts of one run as one; `None` for what is to stay apart."""
    if not (isinstance(event, TextEvent) and isinstance(last, TextEvent)) or last.run_id != event.run_id:
        return None
    if len(last.text) >= _JOIN_LIMIT:
        return None
    return last.model_copy(update={"text": last.text + event.text})
