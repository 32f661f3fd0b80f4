"""Whose turn it is to ask a model server that is asked by so many at once only."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True, eq=False)
class _Waiting:
    """Somebody who waits for a turn."""

    most: int
    come: asyncio.Event = field(default_factory=asyncio.Event)


class Turns:
    """The turns at one server, in the order in which they were asked for. For one event loop."""

    def __init__(self) -> None:
        self._busy = 0
        self._waiting: deque[_Waiting] = deque()

    @asynccontextmanager
    async def one(self, *, most: int | None) -> AsyncIterator[None]:
        """While one asks. Waits before that until fewer than `most` do, whatever limit those have.

        Args:
            most: How many may ask at once; `None` for one who waits for nobody.
        """
        if most is not None:
            await self._wait(_Waiting(most))
        else:
            self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._call_next()

    async def _wait(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        self._call_next()
        try:
            await waiting.come.wait()
        except BaseException:
            if waiting.come.is_set():
                self._busy -= 1  # it came at the same moment
            else:
                self._waiting.remove(waiting)
            self._call_next()
            raise

    def _call_next(self) -> None:
        while self._waiting and self._busy < self._waiting[0].most:
            self._busy += 1
            self._waiting.popleft().come.set()


_servers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Turns]] = WeakKeyDictionary()


def find_turns(server: str) -> Turns:
    """The turns at a server, for all who ask it in this event loop; a forked child has a loop of its own.

    Args:
        server: Its base address.
    """
    return _servers.setdefault(asyncio.get_running_loop(), {}).setdefault(server, Turns())
