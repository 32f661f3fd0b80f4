"""A sandbox's pool, held from any thread: begun when it is first needed, ended with the sandbox."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from langchain_sandbox.lease import Lease
from langchain_sandbox.shared import get_shared

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from langchain_sandbox.pool import SparePool
    from langchain_sandbox.pool_config import Pool


class PoolHandle:
    """One for each sandbox that has a pool.

    Args:
        settings: How many spares, and for how long.
    """

    def __init__(self, settings: Pool) -> None:
        self._lease = Lease(partial(_make, settings))
        self._closed = False

    def begin(self) -> SparePool | None:
        """The pool; `None` after `close`. A forked child gets one of its own."""
        return None if self._closed else self._lease.begin_again()

    def close(self) -> None:
        """Take all spares away, and wait until they are gone. There will be no others."""
        self._closed = True
        closing = self._lease.end()
        if closing is not None:
            closing.result()

    async def aclose(self) -> None:
        """As `close`."""
        self._closed = True
        closing = self._lease.end()
        if closing is not None:
            await asyncio.wrap_future(closing)


def _make(settings: Pool, portal: BlockingPortal) -> SparePool:
    return portal.call(get_shared(portal).new_pool, settings)
