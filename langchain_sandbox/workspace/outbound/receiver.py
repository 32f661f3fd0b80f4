"""The changes' way in from a link, without ever holding up the loop that reads it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from langchain_sandbox.link import Data, LinkEvent
from langchain_sandbox.workspace.outbound.changes import Change, Changes

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.config import Limits
    from langchain_sandbox.workspace.content import Content
    from langchain_sandbox.workspace.inbound.snapshot import Snapshot


class ChangesReceiver:
    """Puts aside what arrives, and writes it down in a thread.

    The link's window bounds what is put aside, since only `serve` acknowledges.

    Args:
        limits: `changes` bounds the bytes that are kept.
        acknowledge: Called for each piece of content once it is kept.
    """

    def __init__(self, limits: Limits, *, acknowledge: Callable[[Data], None]) -> None:
        self._changes = Changes(limits)
        self._acknowledge = acknowledge
        self._waiting: deque[LinkEvent] = deque()
        self._arrival = anyio.Event()

    @property
    def skipped(self) -> list[str]:
        """What cannot be taken over, and why."""
        return self._changes.skipped

    @property
    def lost(self) -> OSError | None:
        """Why something could not be kept."""
        return self._changes.lost

    def on_event(self, event: LinkEvent) -> None:
        """Put aside what the container says; never blocks."""
        self._waiting.append(event)
        self._arrival.set()

    async def serve(self) -> None:
        """Write down what arrives, until cancelled."""
        while True:
            await self._arrival.wait()
            self._arrival = anyio.Event()
            batch, self._waiting = self._waiting, deque()
            with anyio.CancelScope(shield=True):  # the batch is nowhere else
                await anyio.to_thread.run_sync(self._changes.take, batch)
            for event in batch:
                if isinstance(event, Data):
                    self._acknowledge(event)

    def acknowledge_rest(self) -> None:
        """Say of what `serve` did not come to that it is consumed: the link is to be used by others after this."""
        for event in self._waiting:
            if isinstance(event, Data):
                self._acknowledge(event)

    def settle(self, snapshot: Snapshot) -> list[Change]:
        """The changes that are real and allowed, in order of their paths; the others are in `skipped`."""
        self._changes.take(self._waiting)  # what `serve` did not come to
        return self._changes.settle(snapshot)

    @property
    def bundle(self) -> Content | None:
        """The new commits, as `git bundle` wrote them."""
        return self._changes.bundle

    def close(self) -> None:
        """Let the contents go."""
        self._changes.close()
