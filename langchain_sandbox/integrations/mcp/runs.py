"""The runs of this server: those that are under way, to end them, and those that are over, to read them.

Only these can be read or applied by a client, whatever else the user's state folder holds. They are in memory, so
another server knows nothing of them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.handle import CANCEL_LIMIT

if TYPE_CHECKING:
    from langchain_sandbox.handle import RunHandle
    from langchain_sandbox.result import SandboxResult

LAST_WORDS = 0.3
"""Seconds that the answers for runs which were cancelled may take on their way out, before the process ends."""

_KEPT = 100


class Runs:
    """Knows the runs that began here, and the last ones that ended.

    Attributes:
        closing: Set when the server stops.
    """

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self._under_way: list[RunHandle] = []
        self._over: OrderedDict[str, SandboxResult] = OrderedDict()

    def begin(self, handle: RunHandle) -> None:
        """Take in a run that has begun. If the server is closing, it ends at once."""
        self._under_way = [each for each in self._under_way if not each.done] + [handle]
        if self.closing.is_set():
            handle.cancel()

    def keep(self, result: SandboxResult) -> None:
        """Keep a result, in the place of the one that the run had before."""
        self._over[result.run_id] = result
        while len(self._over) > _KEPT:
            self._over.popitem(last=False)

    def find(self, run_id: str) -> SandboxResult:
        """The result of a run of this server.

        Raises:
            SandboxConfigError: If it has no such run, or has let go of it.
        """
        result = self._over.get(run_id)
        if result is None:
            msg = "This server has no such run. It knows the last ones that it has run itself, by their 12 digits."
            raise SandboxConfigError(msg)
        return result

    def latest(self) -> list[SandboxResult]:
        """The runs that are over, the latest first."""
        return list(reversed(self._over.values()))

    async def aclose(self) -> None:
        """End all runs, and each one that may still begin, and wait until they have ended, five seconds at most."""
        self.closing.set()
        handles = list(self._under_way)
        if handles:
            await asyncio.wait({asyncio.ensure_future(each.acancel()) for each in handles}, timeout=CANCEL_LIMIT)
