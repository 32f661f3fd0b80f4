"""One task of a session: its container stays for the next one, and what that will need to know of the workspace."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from langchain_sandbox.engine.base import ContainerEnd
from langchain_sandbox.preparation import Loading
from langchain_sandbox.run import Run
from langchain_sandbox.workspace.following import FollowedCopy

if TYPE_CHECKING:
    from langchain_sandbox.dialogue import Assignment
    from langchain_sandbox.engine.base import Engine
    from langchain_sandbox.event_log import EventLog
    from langchain_sandbox.live_container import LiveContainer
    from langchain_sandbox.places import Places
    from langchain_sandbox.pool import SparePool
    from langchain_sandbox.request import RunRequest
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.stay import Stay
    from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver


class SessionRun(Run):
    """As a `Run`, in the container that the session's tasks before it have left.

    Args:
        request: As for `Run`.
        engine: As for `Run`.
        places: As for `Run`.
        log: As for `Run`.
        pool: As for `Run`, for the session's first task.
        stay: The session's container and workspace.
    """

    def __init__(
        self,
        request: RunRequest,
        *,
        engine: Engine,
        places: Places,
        log: EventLog,
        pool: SparePool | None = None,
        stay: Stay,
    ) -> None:
        super().__init__(request, engine=engine, places=places, log=log, pool=pool)
        self._stay = stay
        self._stays = False

    async def execute(self) -> SandboxResult:
        """As `Run.execute`, once the session's tasks before it are over.

        Raises:
            SandboxError: If the session is over; the message says why.
            SandboxConfigError: As by `Run.execute`.
            SandboxUnavailableError: As by `Run.execute`.
        """
        has_turn = await self._take_turn()
        try:
            async with self._stay.task(self):
                result = await super().execute()
                if self._stays and isinstance(self._carriage, FollowedCopy):
                    self._stay.following.settle(self._carriage)
                return result
        finally:
            if has_turn:
                self._stay.turn.release()

    async def _take_turn(self) -> bool:
        """Wait for the tasks before this one; whoever cancels need not, and gets a result that says so."""
        taking = asyncio.ensure_future(self._stay.turn.acquire())
        leaving = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({taking, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not taking.done():
                taking.cancel()
        return taking.done() and not taking.cancelled()

    def _load(self) -> Loading:
        return Loading(self._request, self._engine, cancelled=self._cancelled, following=self._stay.following)

    async def _open(self) -> LiveContainer:
        container = self._stay.take()
        if container is None:
            return await super()._open()
        self._report.mark("handed_over")
        return container

    async def _assign(self, changes: ChangesReceiver, container: LiveContainer) -> Assignment:
        assignment = await super()._assign(changes, container)
        return replace(assignment, stays=True)

    async def _leave(self, container: LiveContainer) -> None:
        if self._dialogue.parked and not container.over:
            self._stays = True
            self._stay.keep(container)
            self._report.end = ContainerEnd(oom=container.oom)
            self._report.cleanup_confirmed, self._report.cleanup_pending = False, True
            return
        self._stay.lose("its last task did not end well")
        await super()._leave(container)
