"""From a thread that may block for ever to the loop that never may: a few things ahead, and no more."""

from __future__ import annotations

import asyncio
import threading
from typing import Generic, TypeVar

T = TypeVar("T")

_AHEAD = 8


class LeftError(Exception):
    """Nobody takes what is made any more."""


class Handover(Generic[T]):
    """Takes things from a thread to the loop that it is made on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._things: asyncio.Queue[T] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._left = False

    def put(self, thing: T) -> None:
        """Give something; called in the thread, which waits for as long as too much was not taken yet.

        Raises:
            LeftError: If it is wanted no more.
        """
        self._room.acquire()
        if self._left:
            raise LeftError
        try:
            self._loop.call_soon_threadsafe(self._things.put_nowait, thing)
        except RuntimeError as error:  # the loop is closed: the process ends
            raise LeftError from error

    async def take(self) -> T:
        """The next thing, as soon as there is one; called on the loop."""
        thing = await self._things.get()
        self._room.release()
        return thing

    def leave(self) -> None:
        """Want no more; the thread learns of it when it has the next thing. Called on the loop."""
        self._left = True
        self._room.release()
