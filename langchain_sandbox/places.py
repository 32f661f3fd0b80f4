"""Who may boot a container now, in this whole process, and whether anybody works in one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

from langchain_sandbox.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Places:
    """Bounds how many containers boot at once. For one event loop.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._limiter = anyio.CapacityLimiter(count)
        self._tasks = 0
        self._quiet = anyio.Event()
        self._quiet.set()

    async def take(self, who: object, *, timeout: float | None) -> None:  # noqa: ASYNC109 - told in the message
        """Wait for a place.

        Args:
            who: Gives it back with `give`.
            timeout: Seconds to wait at most.

        Raises:
            SandboxUnavailableError: If there was none for so long.
        """
        with anyio.move_on_after(timeout) as clock:
            await self._limiter.acquire_on_behalf_of(who)
        if clock.cancelled_caught:
            msg = (
                f"{self._limiter.total_tokens:g} sandboxes are booting already, and none was done within "
                f"{timeout:g} s (queue_timeout)."
            )
            raise SandboxUnavailableError(msg)

    def give(self, who: object) -> None:
        """Give a place back; nothing if it was given back before."""
        try:
            self._limiter.release_on_behalf_of(who)
        except RuntimeError:
            return

    @contextmanager
    def task(self) -> Iterator[None]:
        """While somebody's task is under way, those who boot ahead of need had better wait."""
        self._tasks += 1
        if self._quiet.is_set():
            self._quiet = anyio.Event()
        try:
            yield
        finally:
            self._tasks -= 1
            if not self._tasks:
                self._quiet.set()

    async def quiet(self, *, patience: float) -> None:
        """Wait until no task is under way.

        Args:
            patience: Seconds to wait at most: a task may take minutes, most of them waiting for its model.
        """
        with anyio.move_on_after(patience):
            while self._tasks:
                await self._quiet.wait()
