"""A sandbox's pool, held from any thread: begun when it is first needed, ended with the sandbox."""

from __future__ import annotations

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

    def begin(self) -> SparePool | None:
        """The pool; `None` after `close`. A forked child gets one of its own."""
        return None if self._lease.closed else self._lease.begin_again()

    def close(self) -> None:
        """Take all spares away, and wait until they are gone. There will be no others."""
        self._lease.close()

    async def aclose(self) -> None:
        """As `close`."""
        await self._lease.aclose()


def _make(settings: Pool, portal: BlockingPortal) -> SparePool:
    return portal.call(get_shared(portal).new_pool, settings)
