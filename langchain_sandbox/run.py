"""One run from start to end: prepare, make the container, talk with it, take it away, say what came of it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from langchain_sandbox import events
from langchain_sandbox.collect import Collector
from langchain_sandbox.conclusion import Conclusion
from langchain_sandbox.conversation import Conversation
from langchain_sandbox.dialogue import Assignment, Dialogue
from langchain_sandbox.engine.base import ContainerEnd
from langchain_sandbox.engine.garbage import collect_garbage
from langchain_sandbox.errors import SandboxError
from langchain_sandbox.judge import Judge
from langchain_sandbox.keeper import Keeper
from langchain_sandbox.loading import Loading
from langchain_sandbox.opening import Opening
from langchain_sandbox.preparation import Means, find_means
from langchain_sandbox.report import Report, describe_settings
from langchain_sandbox.single_error import single_error
from langchain_sandbox.workspace.carriage import Carriage, Copy, Yield
from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.inbound.intake import take_intake
from langchain_sandbox.workspace.outbound.patch import Patch
from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.engine.base import Engine
    from langchain_sandbox.event_log import EventLog
    from langchain_sandbox.live_container import LiveContainer
    from langchain_sandbox.places import Places
    from langchain_sandbox.pool import SparePool
    from langchain_sandbox.request import RunRequest
    from langchain_sandbox.result import SandboxResult

_T = TypeVar("_T")
_FLUSH = 1.0

logger = logging.getLogger(__name__)


class Run:
    """A run; `execute` is called once, on the portal's loop.

    Args:
        request: What was asked for.
        engine: Where the container is made.
        places: Bounds how many containers boot at once in this process.
        log: Where events go.
        pool: Has containers that are booted already.
    """

    def __init__(
        self, request: RunRequest, *, engine: Engine, places: Places, log: EventLog, pool: SparePool | None = None
    ) -> None:
        self._request = request
        self._engine = engine
        self._pool = pool
        self._opening = Opening(request, engine=engine, places=places, pool=pool)
        self._log = log
        self._logger = logging.LoggerAdapter(logger, {"run_id": request.run_id})
        self._report = Report(
            began=time.monotonic(),
            begun=False,
            judge=Judge(request.output) if request.output else None,
            command=request.command,
            claimed_before=request.revision.result.evidence.claimed_files if request.revision else (),
            settings=describe_settings(
                request.prompt.asked,
                changes=request.changes,
                timeout=request.timeout,
                limits=request.limits,
                egress=request.egress,
                revises=request.revision.result.run_id if request.revision else None,
                comment=request.revision.comment if request.revision else "",
            ),
        )
        self._dialogue = self._open_dialogue()
        self._keeper = Keeper(request.run_id, request.retention, warn=self._warn)
        self._collector = Collector(self._report, self._keeper, changes=request.changes, warn=self._warn)
        self._conclusion = Conclusion(request, self._report, self._keeper, emit=self._emit, warn=self._warn)
        self._cancelled = anyio.Event()
        self._loading: Loading
        self._means: Means
        self._carriage: Carriage | None = None
        self._spent: LiveContainer | None = None

    def _open_dialogue(self) -> Dialogue:
        """What host and container will say to each other."""
        return Conversation(report=self._report, emit=self._emit, on_working=self._opening.give_place)

    @property
    def changes(self) -> ChangesPolicy:
        """What becomes of the changes."""
        return self._request.changes

    @property
    def timeout(self) -> float:
        """Seconds that it may take from its container's start."""
        return self._request.timeout

    @property
    def begun(self) -> bool:
        """Whether there is, or was, a container for it."""
        return self._report.begun

    def cancel(self) -> None:
        """Have the run end soon, with what was changed until then; call it on the portal's loop."""
        self._report.cancelled = True
        self._cancelled.set()
        self._dialogue.interrupt()

    async def execute(self) -> SandboxResult:
        """Run to the end and return what came of it.

        Raises:
            SandboxConfigError: If what was asked for cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
        """
        self._logger.info("[%s] run begins", self._request.run_id)
        with self._opening.task():
            try:
                return await self._execute()
            finally:
                if self._spent is not None and self._pool is not None:
                    with anyio.CancelScope(shield=True):
                        await self._pool.remove(self._spent)

    async def _execute(self) -> SandboxResult:
        if self._needs_container and not self._opening.rouse():
            await self._unless_cancelled(self._opening.approach)
            if self._report.cancelled:
                return await self._finish_unprepared()
        self._loading = self._load()
        writing = asyncio.create_task(self._write_events())
        try:
            self._means = await self._find_means()
            self._report.runtime = self._means.runtime
            for warning in self._means.warnings:
                self._warn(warning)
            return await self._execute_with_means()
        finally:
            writing.cancel()
            self._opening.calm()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._keeper.leave)
                await self._loading.aclose()
            self._log.close()

    async def _write_events(self) -> None:
        """Write events down while the run lasts, so that they are there whatever becomes of this process."""
        while True:
            await anyio.sleep(_FLUSH)
            await anyio.to_thread.run_sync(self._keeper.flush)

    @property
    def _needs_container(self) -> bool:
        """Whether there is none yet that it will work in."""
        return True

    async def _finish_unprepared(self) -> SandboxResult:
        """The result of a run that was cancelled before anything was done for it; nothing is kept of such a one."""
        self._means = Means(image="")
        try:
            return await self._finish(Copy(take_intake(None, self._request.limits)), Yield([], Patch()))
        finally:
            self._log.close()

    def _load(self) -> Loading:
        """Begin to read the workspace."""
        return Loading(self._request, self._engine, cancelled=self._cancelled)

    async def _find_means(self) -> Means:
        try:
            return await self._look_for_means()
        except SandboxError:
            await self._loading.result()  # a workspace that cannot go in is what its caller should hear of first
            raise

    async def _look_for_means(self) -> Means:
        return await find_means(self._request, self._engine)

    async def _execute_with_means(self) -> SandboxResult:
        if self._means.failure is not None or self._report.cancelled:
            self._report.failure = self._means.failure
            return await self._finish(await self._await_workspace(), Yield([], Patch()))
        changes = ChangesReceiver(self._request.limits, acknowledge=self._dialogue.acknowledge)
        try:
            try:
                worked = await self._work(changes)
            except BaseException:
                await self._look_after(changes)
                raise
            carriage = await self._await_workspace()
            if not worked:
                return await self._finish(carriage, Yield([], Patch()))
            harvest = await anyio.to_thread.run_sync(self._collector.collect, carriage, changes)
            try:
                return await self._finish(carriage, harvest)
            finally:
                harvest.close()
        finally:
            changes.close()

    async def _await_workspace(self) -> Carriage:
        """The workspace, once it is read; from then on the run is kept: what it needed was there.

        Raises:
            SandboxConfigError: If it cannot go in.
        """
        if self._carriage is None:
            carriage = await self._loading.result()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._keeper.open)
            self._carriage = carriage
            for warning in (*carriage.intake.warnings, *carriage.seed.warnings):
                self._warn(warning)
        return self._carriage

    async def _look_after(self, changes: ChangesReceiver) -> None:
        """Make a mounted folder harmless although there will be no result: the container may have worked there."""
        carriage = self._carriage
        if carriage is None or not carriage.intake.mounted:
            return
        with anyio.CancelScope(shield=True):
            try:
                harvest = await anyio.to_thread.run_sync(self._collector.collect, carriage, changes)
            except (OSError, GitError) as error:
                self._logger.warning("[%s] the folder could not be looked through: %s", self._request.run_id, error)
            else:
                harvest.close()

    async def _work(self, changes: ChangesReceiver) -> bool:
        """Have the task done in a container, which is gone afterwards; say whether it was begun."""
        container = await self._unless_cancelled(self._open)
        self._opening.calm()
        if container is None:
            return False
        self._report.begun = True
        # Beside a boot there is time for it; who boots spares has done it for the task that is quick.
        garbage = None if container.booted else asyncio.create_task(collect_garbage(self._engine))
        try:
            with single_error():
                await self._dialogue.hold(await self._assign(changes, container), container=container)
        finally:
            self._opening.give_place()
            with anyio.CancelScope(shield=True):
                await self._leave(container)
                if garbage is not None:
                    garbage.cancel()
                    await asyncio.gather(garbage, return_exceptions=True)
        return True

    async def _unless_cancelled(self, step: Callable[[], Awaitable[_T]]) -> _T | None:
        """What a step gives; `None` if the run was cancelled meanwhile."""
        given: _T | None = None
        with single_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch_cancelled, tasks.cancel_scope)
                given = await step()
                tasks.cancel_scope.cancel()
        return given

    async def _watch_cancelled(self, scope: anyio.CancelScope) -> None:
        await self._cancelled.wait()
        scope.cancel()

    async def _open(self) -> LiveContainer:
        """A container to work in."""
        container = await self._opening.take_spare(self._means, self._loading.folder)
        if container is not None:
            self._report.mark("handed_over")
            return container
        container = await self._opening.boot(self._means, self._await_workspace)
        self._report.mark("created")
        return container

    async def _leave(self, container: LiveContainer) -> None:
        """Have the container taken away."""
        claim = self._report.claim
        done = claim is not None and not claim.get("error") and not self._report.cancelled and not container.over
        if container.booted and self._pool is not None and done:
            # It has said all that it had to say, and nothing runs in it but our own program. Who has taken a spare to
            # be quick need not wait for the engine to tidy up, nor share the cores with it: it goes after the result.
            self._report.end = ContainerEnd(oom=container.oom)
            self._report.cleanup_confirmed, self._report.cleanup_pending = False, True
            self._spent = container
            return
        self._report.cleanup_confirmed = await container.take_away(parted=self._dialogue.settled.is_set())
        self._report.stderr = container.stderr
        self._report.end = container.end

    async def _assign(self, changes: ChangesReceiver, container: LiveContainer) -> Assignment:
        """What the container is to work on; one that is booted gets to know before the workspace is read."""
        request = self._request
        early = container.booted
        mounted = not early and (await self._await_workspace()).intake.mounted
        return Assignment(
            prompt=request.prompt,
            judge=self._report.judge,
            timeout=request.timeout,
            limits=request.limits,
            source=self._means.source,
            folder="" if mounted else await self._loading.folder(),
            mounted=mounted,
            workspace=self._await_workspace,
            changes=changes,
            contents=request.record,
            egress=request.egress,
            instructions=self._loading.instructions if early else None,
        )

    async def _finish(self, carriage: Carriage, harvest: Yield) -> SandboxResult:
        result = await self._conclusion.draw(carriage.intake, harvest.patch, means=self._means)
        self._logger.info("[%s] run ended: %s (%s)", result.run_id, result.status, result.ending.code)
        return result

    def _warn(self, message: str) -> None:
        self._report.warnings.append(message)
        self._emit("warning", message=message)

    def _emit(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - each event has fields of its own
        event = events.build_event(kind, run_id=self._request.run_id, at=self._report.clock(), **fields)
        self._log.put(event)
        self._keeper.put(event.model_dump(mode="json"))
