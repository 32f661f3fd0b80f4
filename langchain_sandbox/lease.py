"""Something that lives on the portal's loop, held from any thread: begun when it is needed, ended by its holder."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from langchain_sandbox.portal import get_portal

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from anyio.from_thread import BlockingPortal


class Tenant(Protocol):
    """What lives there."""

    async def serve(self) -> None:
        """Live, until it is closed or the process ends."""

    async def aclose(self) -> None:
        """End, and return when nothing is left."""

    def leave(self) -> None:
        """End as soon as nobody needs it: its holder is gone. Called on the loop; waits for nothing."""


T = TypeVar("T", bound=Tenant)


class ProcessLock:
    """A lock whose holder a forked child does not inherit."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()

    def take(self, on_fork: Callable[[], None]) -> threading.Lock:
        """The lock, to be entered.

        Args:
            on_fork: Called first where we are a child of whoever has used it before.
        """
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.Lock()
            on_fork()
        return self._lock


@dataclass(frozen=True, slots=True)
class _Begun(Generic[T]):
    portal: BlockingPortal
    loop: asyncio.AbstractEventLoop
    tenant: T
    serving: Future[None]


class Lease(Generic[T]):
    """Holds one tenant. When nobody holds the lease any more, the tenant leaves.

    Args:
        make: Makes the tenant, in the thread of whoever needs it first.
    """

    def __init__(self, make: Callable[[BlockingPortal], T]) -> None:
        self._make = make
        self._lock = ProcessLock()
        self._begun: _Begun[T] | None = None
        self._inherited = False
        self.closed = False
        """Whether its holder has closed it or let it go, after which nothing is to be begun."""

    @property
    def tenant(self) -> T | None:
        """What lives there, or has lived; `None` before it was begun."""
        with self._own():
            return self._begun.tenant if self._begun is not None else None

    @property
    def inherited(self) -> bool:
        """Whether it was begun by a process that we are a child of."""
        with self._own():
            return self._inherited

    def begin(self) -> T:
        """What lives there, begun if it was not."""
        with self._own():
            if self._begun is None:
                self._begun = self._start()
            return self._begun.tenant

    def begin_again(self) -> T:
        """As `begin`; where it is over, another one is begun."""
        with self._own():
            if self._begun is None or self._begun.serving.done():
                self._begun = self._start()
            return self._begun.tenant

    def let_go(self) -> None:
        """Have it end as soon as nobody needs it; waits for nothing."""
        self.closed = True
        with self._own():
            begun = self._begun
        if begun is not None:
            _let_go(begun.loop, begun.tenant)

    def close(self) -> None:
        """Have it end, and wait until nothing is left."""
        ending = self._end()
        if ending is not None:
            ending.result()

    async def aclose(self) -> None:
        """As `close`."""
        ending = self._end()
        if ending is not None:
            await asyncio.wrap_future(ending)

    def _end(self) -> Future[None] | None:
        """Have it end; the future is done when nothing is left. `None` if there is nothing."""
        self.closed = True
        with self._own():
            begun = self._begun
        if begun is None or begun.serving.done():
            return None
        try:
            return begun.portal.start_task_soon(begun.tenant.aclose)
        except RuntimeError:
            return None  # the portal is closed, and took it along

    def _own(self) -> threading.Lock:
        return self._lock.take(self._forget)

    def _forget(self) -> None:
        self._inherited, self._begun = self._begun is not None, None

    def _start(self) -> _Begun[T]:
        portal = get_portal()
        tenant = self._make(portal)
        serving = portal.start_task_soon(tenant.serve)
        loop = portal.call(_find_loop)
        # At the end of the process the portal itself sees to it.
        weakref.finalize(self, _let_go, loop, tenant).atexit = False
        return _Begun(portal, loop, tenant, serving)


async def _find_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def _let_go(loop: asyncio.AbstractEventLoop, tenant: Tenant) -> None:
    """Nobody holds it any more. Called wherever garbage is collected: it must wait for nothing."""
    with suppress(RuntimeError):  # the loop is closed, and took it along
        loop.call_soon_threadsafe(tenant.leave)
