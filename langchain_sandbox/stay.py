"""What lives as long as a session does: its container, asleep between tasks, and what that has of the workspace."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, Protocol

import anyio
import anyio.to_thread

from langchain_sandbox.errors import SessionOverError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from langchain_sandbox.live_container import LiveContainer
    from langchain_sandbox.workspace.following import Following


class Cancellable(Protocol):
    """A run, as far as it concerns its session."""

    def cancel(self) -> None:
        """Have it end soon."""


class Stay:
    """Lives on the portal's loop for as long as `serve` runs.

    Args:
        following: The workspace.
        idle: Seconds that it waits for a task at most.
    """

    def __init__(self, following: Following, *, idle: float) -> None:
        self.following = following
        self.container: LiveContainer | None = None
        """Booted and asleep; `None` before the first task, and while one is under way."""
        self.image: str | None = None
        """The container's image, from the first task's end on."""
        self._idle = idle
        self._turn = asyncio.Lock()
        self._tasks = 0  # under way and waiting
        self._used = time.monotonic()
        self._left = False
        self._over: str | None = None
        self._task: Cancellable | None = None
        self._watching: asyncio.Future[None]
        self._changed = anyio.Event()
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()

    @property
    def over(self) -> bool:
        """Whether there can be no more tasks."""
        gone = self.container is not None and self.container.over
        return gone or self._over is not None

    async def serve(self) -> None:
        """Let go of all of it when nobody has come for too long, at `aclose`, or when the process ends."""
        try:
            with self._scope:
                await self._wait_for_nobody()
        finally:
            if self._task is not None and self._over is None:  # else the task is what ends it, and is about to end
                self._task.cancel()
            self._over = self._over or "it was closed"
            try:
                with anyio.CancelScope(shield=True):
                    async with self._turn:
                        if self.container is not None:
                            await self.container.take_away(parted=False)
                        await anyio.to_thread.run_sync(self.following.close)
            finally:
                self._ended.set()

    async def _wait_for_nobody(self) -> None:
        while (left := math.inf if self._tasks else self._used + self._idle - time.monotonic()) > 0:
            with anyio.move_on_after(left):
                await self._changed.wait()
            self._changed = anyio.Event()
            if self.container is not None and self.container.over:
                self._over = "its container is gone"
                return
        self._over = "nobody holds it any more" if self._left else f"no task came for {self._idle:g} s"

    @asynccontextmanager
    async def task(self, task: Cancellable, *, cancelled: anyio.Event) -> AsyncIterator[None]:
        """While one task is under way, after those before it.

        Args:
            task: Cancelled if the session is closed meanwhile.
            cancelled: Set when it is cancelled: then it need not wait for its turn, and has nothing to do with us.

        Raises:
            SessionOverError: If there can be no more tasks; the message says why.
        """
        self._tasks += 1
        self._changed.set()
        try:
            if not await self._take_turn(cancelled):
                yield
                return
            try:
                self._require()
                self._task = task
                yield
            finally:
                self._task = None
                self._turn.release()
        finally:
            self._tasks -= 1
            self._used = time.monotonic()
            self._changed.set()

    async def aclose(self) -> None:
        """End it; returns when the container is gone. A task that is under way is cancelled."""
        self.close_soon()
        await self._ended.wait()

    def close_soon(self) -> None:
        """As `aclose`, without waiting for it."""
        self._scope.cancel()

    def leave(self) -> None:
        """Have it end as soon as no task is under way: nobody can give it another one."""
        self._idle, self._left = 0.0, True
        self._changed.set()

    def take(self) -> LiveContainer:
        """The container, for one task."""
        self._watching.cancel()
        container, self.container = self.container, None
        assert container is not None, "it is there"  # noqa: S101 - a mistake of ours, not of a caller
        return container

    def keep(self, container: LiveContainer, *, image: str) -> None:
        """Have a container for the next task.

        Args:
            container: It has done its task.
            image: Its image's id.
        """
        self.image = image
        container.booted = True
        container.listen(None)
        self.container = container
        self._watching = asyncio.ensure_future(container.serve())
        self._watching.add_done_callback(self._look)

    def lose(self, reason: str) -> None:
        """Note that there is no container any more, so that there can be no more tasks."""
        self._over = self._over or reason
        self._scope.cancel()

    async def _take_turn(self, cancelled: anyio.Event) -> bool:
        taking, leaving = asyncio.ensure_future(self._turn.acquire()), asyncio.ensure_future(cancelled.wait())
        try:
            await asyncio.wait({taking, leaving}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            taking.add_done_callback(self._give_back)  # it may have it already
            raise
        finally:
            leaving.cancel()
            if not taking.done():
                taking.cancel()
        return taking.done()

    def _look(self, watching: asyncio.Future[None]) -> None:
        """The container has ended while it slept, or is taken."""
        if not watching.cancelled():
            watching.exception()
            self._changed.set()

    def _give_back(self, taking: asyncio.Future[Literal[True]]) -> None:
        if not taking.cancelled():
            self._turn.release()

    def _require(self) -> None:
        if self.container is not None and self.container.over:
            self.lose("its container is gone")
        if self._over is not None:
            msg = f"The session is over: {self._over}. Begin another one; what its tasks brought is in their results."
            raise SessionOverError(msg)
