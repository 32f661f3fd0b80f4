"""One task of a session: its container stays for the next one, and what that will need to know of the workspace."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from langchain_sandbox.engine.base import ContainerEnd
from langchain_sandbox.loading import INSTRUCTIONS, Loading
from langchain_sandbox.preparation import find_means
from langchain_sandbox.run import Run
from langchain_sandbox.workspace.following import FollowedCopy

if TYPE_CHECKING:
    from langchain_sandbox.dialogue import Assignment
    from langchain_sandbox.engine.base import Engine
    from langchain_sandbox.event_log import EventLog
    from langchain_sandbox.live_container import LiveContainer
    from langchain_sandbox.places import Places
    from langchain_sandbox.pool import SparePool
    from langchain_sandbox.preparation import Means
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
        self._follows = self._had_oom = False
        self._changes: ChangesReceiver | None = None

    async def execute(self) -> SandboxResult:
        """As `Run.execute`, once the session's tasks before it are over.

        Raises:
            SessionOverError: If the session is over; the message says why.
            SandboxConfigError: As by `Run.execute`.
            SandboxUnavailableError: As by `Run.execute`.
        """
        async with self._stay.task(self, cancelled=self._cancelled):
            try:
                result = await super().execute()
                self._remember()
            except BaseException:
                if self._stays:
                    self._stay.lose("what its last task had changed was lost")
                raise
            return result

    def _remember(self) -> None:
        """Note what the container has of the workspace, if that is known."""
        if not self._stays:
            return
        claim = self._report.claim
        if isinstance(self._carriage, FollowedCopy) and claim is not None and not claim.get("error"):
            self._stay.following.settle(self._carriage)
        else:
            self._stay.lose("what its last task had changed was lost")

    def _load(self) -> Loading:
        return Loading(self._request, self._engine, cancelled=self._cancelled, following=self._stay.following)

    async def _look_for_means(self) -> Means:
        """As the base's; its container has its image."""
        return await find_means(self._request, self._engine, image=self._stay.image)

    @property
    def _needs_container(self) -> bool:
        return self._stay.container is None

    async def _open(self) -> LiveContainer:
        if self._stay.container is None:
            return await super()._open()
        await self._loading.selected()  # a workspace that cannot go in is no reason to lose the container
        container = self._stay.take()
        self._follows, self._had_oom = True, container.oom
        self._report.mark("handed_over")
        return container

    async def _assign(self, changes: ChangesReceiver, container: LiveContainer) -> Assignment:
        assignment = await super()._assign(changes, container)
        self._changes = changes
        instructions = self._find_instructions if self._follows else assignment.instructions
        return replace(assignment, stays=True, instructions=instructions)

    async def _find_instructions(self) -> str | None:
        """As the base's; nothing where they are in place, and `None` where that takes all that goes in."""
        told = await self._loading.instructions()
        if told is None or not self._stay.following.has(INSTRUCTIONS, told.encode()):
            return None
        return ""

    async def _leave(self, container: LiveContainer) -> None:
        if self._dialogue.parked and not container.over:
            if self._changes is not None:
                self._changes.acknowledge_rest()
            self._stays = True
            self._stay.keep(container, image=self._means.image)
            # What the kernel did to an earlier task is that one's.
            self._report.end = ContainerEnd(oom=container.oom and not self._had_oom)
            self._report.cleanup_confirmed, self._report.cleanup_pending = False, True
            return
        self._stay.lose("its last task did not end well")
        await super()._leave(container)
