"""A sandbox's pool, held from any thread: begun when it is first needed, ended with the sandbox."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_sandbox.portal import get_portal
from langchain_sandbox.shared import get_shared

if TYPE_CHECKING:
    from concurrent.futures import Future

    from anyio.from_thread import BlockingPortal

    from langchain_sandbox.pool import SparePool
    from langchain_sandbox.pool_config import Pool


@dataclass(frozen=True, slots=True)
class _Begun:
    portal: BlockingPortal
    pool: SparePool
    serving: Future[None]


class PoolHandle:
    """One for each sandbox that has a pool.

    Args:
        settings: How many spares, and for how long.
    """

    def __init__(self, settings: Pool) -> None:
        self.settings = settings
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._begun: _Begun | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it will begin no pool any more."""
        return self._closed

    def begin(self) -> SparePool | None:
        """The pool; `None` after `close`. A forked child gets one of its own."""
        with self._own():
            if self._closed:
                return None
            begun = self._begun
            if begun is None or begun.serving.done():
                begun = self._begun = self._start()
            return begun.pool

    def close(self) -> None:
        """Take all spares away, and wait until they are gone. There will be no others."""
        closing = self._end()
        if closing is not None:
            closing.result()

    async def aclose(self) -> None:
        """As `close`."""
        closing = self._end()
        if closing is not None:
            await asyncio.wrap_future(closing)

    def _own(self) -> threading.Lock:
        """This process's lock. After a fork the pool is the parent's, and so is a lock that one of its threads held."""
        if self._process != os.getpid():
            self._process, self._lock, self._begun = os.getpid(), threading.Lock(), None
        return self._lock

    def _start(self) -> _Begun:
        portal = get_portal()
        pool = portal.call(get_shared(portal).new_pool, self.settings)
        serving = portal.start_task_soon(pool.serve)
        loop = portal.call(_find_loop)
        # At the end of the process the portal itself sees to it.
        weakref.finalize(self, _let_go, loop, pool).atexit = False
        return _Begun(portal, pool, serving)

    def _end(self) -> Future[None] | None:
        with self._own():
            self._closed = True
            begun, self._begun = self._begun, None
        if begun is None or begun.serving.done():
            return None
        try:
            return begun.portal.start_task_soon(begun.pool.aclose)
        except RuntimeError:
            return None  # the portal is closed, and took the containers with it


async def _find_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def _let_go(loop: asyncio.AbstractEventLoop, pool: SparePool) -> None:
    """Nobody holds the sandbox any more. Called wherever garbage is collected: it must wait for nothing."""
    with suppress(RuntimeError):  # the loop is closed, and took the containers with it
        loop.call_soon_threadsafe(pool.close_soon)
