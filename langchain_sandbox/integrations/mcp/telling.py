"""A run's events as progress of the request that waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from langchain_sandbox.activity import Activity, describe_event

if TYPE_CHECKING:
    from langchain_sandbox.handle import RunHandle
    from langchain_sandbox.integrations.mcp.peer import Peer

_QUIET = 10.0
"""Seconds after which a client hears that a run is still going on: some give up on a request that says nothing."""


async def tell_events(handle: RunHandle, peer: Peer) -> None:
    """Tell a client how a run goes, until it is over.

    Args:
        handle: The run.
        peer: The client, which hears nothing if it has not asked for progress.
    """
    teller = _Teller(peer)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(teller.repeat)
        async for event in handle.aevents():
            teller.activity.update(event)
            line = describe_event(event)
            if line:
                await teller.tell(line)
        tasks.cancel_scope.cancel()


class _Teller:
    def __init__(self, peer: Peer) -> None:
        self.activity = Activity()
        self._peer = peer
        self._count = 0

    async def tell(self, line: str) -> None:
        self._count += 1  # the protocol wants more each time, and nobody knows how much there will be
        await self._peer.report(float(self._count), line)

    async def repeat(self) -> None:
        while True:
            seen = self._count
            await anyio.sleep(_QUIET)
            if self._count == seen:
                await self.tell(self.activity.now)
