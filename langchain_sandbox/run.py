"""One run from start to end: prepare, make the container, talk with it, take it away, say what came of it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from langchain_sandbox import events
from langchain_sandbox.collect import Collector
from langchain_sandbox.config import ModelEndpoint
from langchain_sandbox.conversation import Conversation
from langchain_sandbox.dialogue import Assignment, Dialogue
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.base import ContainerSpec, Engine
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.engine.scratch import sweep_scratch
from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError
from langchain_sandbox.gateway.relay import GatewayFailure
from langchain_sandbox.gateway.rules import find_shortage
from langchain_sandbox.gateway.upstream import UpstreamError, find_upstream
from langchain_sandbox.judge import Judge
from langchain_sandbox.keeper import Keeper
from langchain_sandbox.live_container import LiveContainer
from langchain_sandbox.report import REPOSITORY, Report, build_fields, describe_settings
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.run_folder import state_folder
from langchain_sandbox.workspace.applying.apply_result import apply_result
from langchain_sandbox.workspace.carriage import Carriage, Copy, Yield, load
from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.inbound.intake import take_intake
from langchain_sandbox.workspace.outbound.patch import Patch
from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver
from langchain_sandbox.workspace_config import ApplyPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.event_log import EventLog
    from langchain_sandbox.gateway.call import ModelSource
    from langchain_sandbox.request import RunRequest
    from langchain_sandbox.workspace_config import Workspace

_FLUSH = 1.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Prepared:
    """What there is before there is a container."""

    carriage: Carriage
    image: str
    source: ModelSource | None = None
    failure: GatewayFailure | None = None
    warnings: list[str] = field(default_factory=list)


class Run:
    """A run; `execute` is called once, on the portal's loop.

    Args:
        request: What was asked for.
        engine: Where the container is made.
        places: Bounds how many containers boot at once in this process.
        log: Where events go.
    """

    def __init__(self, request: RunRequest, *, engine: Engine, places: anyio.CapacityLimiter, log: EventLog) -> None:
        self._request = request
        self._engine = engine
        self._places = places
        self._log = log
        self._logger = logging.LoggerAdapter(logger, {"run_id": request.run_id})
        self._report = Report(
            began=time.monotonic(),
            judge=Judge(request.output) if request.output else None,
            command=request.command,
            claimed_before=request.revision.result.evidence.claimed_files if request.revision else (),
            settings=describe_settings(
                request.prompt.asked,
                changes=request.changes,
                timeout=request.timeout,
                limits=request.limits,
                revises=request.revision.result.run_id if request.revision else None,
                comment=request.revision.comment if request.revision else "",
            ),
        )
        self._dialogue = self._open_dialogue()
        self._keeper = Keeper(request.run_id, request.retention, warn=self._warn)
        self._collector = Collector(self._report, self._keeper, changes=request.changes, warn=self._warn)
        self._cancelled = anyio.Event()

    def _open_dialogue(self) -> Dialogue:
        """What host and container will say to each other."""
        return Conversation(report=self._report, emit=self._emit, on_working=self._give_place)

    @property
    def changes(self) -> ChangesPolicy:
        """What becomes of the changes."""
        return self._request.changes

    @property
    def timeout(self) -> float:
        """Seconds that it may take from its container's start."""
        return self._request.timeout

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
        try:
            prepared = await self._prepare()
            writing: asyncio.Task[None] | None = None
            try:
                await anyio.to_thread.run_sync(self._keeper.open)
                writing = asyncio.create_task(self._write_events())
                return await self._run_prepared(prepared)
            finally:
                if writing is not None:
                    writing.cancel()
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._keeper.leave)
                    await anyio.to_thread.run_sync(prepared.carriage.close)
        finally:
            self._log.close()

    async def _write_events(self) -> None:
        """Write events down while the run lasts, so that they are there whatever becomes of this process."""
        while True:
            await anyio.sleep(_FLUSH)
            await anyio.to_thread.run_sync(self._keeper.flush)

    async def _prepare(self) -> _Prepared:
        """Ask the model server, look for the image and read the workspace, all at once."""
        request = self._request
        folder = request.workspace.path if request.workspace else None
        found, image, carriage = await asyncio.gather(
            self._find_model(),
            self._engine.require_image(request.image, workspace=folder),
            self._load_or_leave(),
            return_exceptions=True,
        )
        for part in (carriage, found, image):
            if isinstance(part, BaseException) and not isinstance(part, UpstreamError):
                if not isinstance(carriage, BaseException):
                    carriage.close()
                raise part
        assert not isinstance(carriage, BaseException)  # noqa: S101 - for the type checker, which cannot follow the loop
        prepared = _Prepared(carriage, str(image), warnings=list(request.warnings))
        if isinstance(found, UpstreamError):
            prepared.failure = GatewayFailure(found.code, str(found))
        else:
            assert not isinstance(found, BaseException)  # noqa: S101 - as above
            prepared.source = found
        if prepared.source is not None:
            shortage = find_shortage(prepared.source.context)
            prepared.warnings += [warning for warning in (shortage, prepared.source.note) if warning]
        prepared.warnings += [*carriage.intake.warnings, *carriage.seed.warnings]
        return prepared

    async def _find_model(self) -> ModelSource | None:
        request = self._request
        if not isinstance(request.model, ModelEndpoint):
            return request.model
        wanted = request.command.model if request.command else None
        return await find_upstream(request.model, allow_remote=request.allow_remote_model, wanted=wanted)

    async def _load_or_leave(self) -> Carriage:
        """Read the workspace; whoever cancels need not wait until it is read, and has an empty one then."""
        loading = asyncio.ensure_future(anyio.to_thread.run_sync(self._load))
        leaving = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({loading, leaving}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            loading.add_done_callback(_close_late)
            raise
        finally:
            leaving.cancel()
        if loading.done():
            return loading.result()
        loading.add_done_callback(_close_late)
        return Copy(take_intake(None, self._request.limits))

    def _load(self) -> Carriage:
        request = self._request
        private = [state_folder(), *self._engine.private_places]
        if request.workspace is not None and request.workspace.mode == "bind" and not self._engine.shares_files:
            msg = 'The engine is on another machine, which does not have the workspace; use Workspace(mode="copy").'
            raise SandboxConfigError(msg)
        return load(
            request.workspace,
            request.limits,
            run_id=request.run_id,
            target=REPOSITORY,
            private=private,
            revises=request.revision.result if request.revision else None,
        )

    async def _run_prepared(self, prepared: _Prepared) -> SandboxResult:
        for warning in prepared.warnings:
            self._warn(warning)
        if prepared.failure is not None or self._report.cancelled:
            self._report.failure = prepared.failure
            return await self._finish(prepared, Yield([], Patch()))
        receive = partial(ChangesReceiver, self._request.limits, acknowledge=self._dialogue.acknowledge)
        changes = await anyio.to_thread.run_sync(receive)
        try:
            try:
                await self._in_container(prepared, changes)
            except BaseException:
                await self._look_after(prepared.carriage, changes)
                raise
            harvest = await anyio.to_thread.run_sync(self._collector.collect, prepared.carriage, changes)
            try:
                return await self._finish(prepared, harvest)
            finally:
                harvest.close()
        finally:
            changes.close()

    async def _look_after(self, carriage: Carriage, changes: ChangesReceiver) -> None:
        """Make a mounted folder harmless although there will be no result: the container may have worked there."""
        if not carriage.intake.mounted:
            return
        with anyio.CancelScope(shield=True):
            try:
                harvest = await anyio.to_thread.run_sync(self._collector.collect, carriage, changes)
            except (OSError, GitError) as error:
                self._logger.warning("[%s] the folder could not be looked through: %s", self._request.run_id, error)
            else:
                harvest.close()

    async def _in_container(self, prepared: _Prepared, changes: ChangesReceiver) -> None:
        request = self._request
        spec = ContainerSpec(
            name=f"langchain-sandbox-{request.run_id}",
            image=prepared.image,
            limits=request.limits,
            labels={labels.OWNER: await anyio.to_thread.run_sync(current_owner), labels.RUN: request.run_id},
            mounts=prepared.carriage.mounts,
            user=prepared.carriage.user,
        )
        assignment = Assignment(
            prompt=request.prompt,
            judge=self._report.judge,
            timeout=request.timeout,
            limits=request.limits,
            source=prepared.source,
            intake=prepared.carriage.intake,
            seed=prepared.carriage.seed,
            changes=changes,
            contents=request.record,
        )
        container = await self._open(spec)
        garbage = asyncio.create_task(self._collect_garbage())
        try:
            with _single_error():
                await self._dialogue.hold(assignment, container=container)
        finally:
            self._give_place()
            with anyio.CancelScope(shield=True):
                self._report.cleanup_confirmed = await container.take_away(parted=self._dialogue.settled.is_set())
                self._report.stderr = container.stderr
                self._report.end = container.end
                garbage.cancel()
                await asyncio.gather(garbage, return_exceptions=True)

    async def _open(self, spec: ContainerSpec) -> LiveContainer:
        """A container for the task."""
        await self._take_place()
        try:
            container = await LiveContainer.make(self._engine, spec)
        except BaseException:
            self._give_place()
            raise
        self._report.mark("created")
        return container

    async def _collect_garbage(self) -> None:
        try:
            await anyio.to_thread.run_sync(sweep_scratch)
            await self._engine.collect_garbage()
        except SandboxUnavailableError as error:
            self._logger.debug("[%s] collecting garbage: %s", self._request.run_id, error)

    async def _take_place(self) -> None:
        with anyio.move_on_after(self._request.queue_timeout) as clock:
            await self._places.acquire_on_behalf_of(self)
        if clock.cancelled_caught:
            msg = (
                f"{self._places.total_tokens:g} sandboxes are booting already, and none was done within "
                f"{self._request.queue_timeout:g} s (queue_timeout)."
            )
            raise SandboxUnavailableError(msg)

    def _give_place(self) -> None:
        try:
            self._places.release_on_behalf_of(self)
        except RuntimeError:
            return  # given back before: booting was over then

    async def _finish(self, prepared: _Prepared, harvest: Yield) -> SandboxResult:
        result = await anyio.to_thread.run_sync(self._build_result, prepared, harvest.patch)
        workspace = self._request.workspace
        if prepared.carriage.intake.mounted:
            result = result.model_copy(update={"applied": True})
        elif result.ok and self._request.changes == "apply" and workspace is not None:
            result = await self._apply(result, workspace)
        self._logger.info("[%s] run ended: %s (%s)", result.run_id, result.status, result.ending.code)
        self._emit("finished", status=result.status, ok=result.ok)
        await anyio.to_thread.run_sync(self._keeper.close, result.model_dump(mode="json"))
        return result

    def _build_result(self, prepared: _Prepared, patch: Patch) -> SandboxResult:
        fields = build_fields(
            self._report,
            run_id=self._request.run_id,
            patch=patch,
            intake=prepared.carriage.intake,
            image=prepared.image,
            model=prepared.source.model if prepared.source else "",
            patch_file=str(self._keeper.patch) if self._keeper.patch else None,
        )
        return SandboxResult.model_validate(fields)

    async def _apply(self, result: SandboxResult, workspace: Workspace) -> SandboxResult:
        apply = partial(apply_result, result, workspace.path, policy=ApplyPolicy())
        try:
            report = await anyio.to_thread.run_sync(apply)
        except SandboxConfigError as error:
            self._warn(f"The changes were not applied: {error}")
            return result.model_copy(update={"warnings": list(self._report.warnings)})
        if report.branch is not None:
            self._warn(f"The branch could not simply move forward: the commits are on {report.branch}.")
        return result.model_copy(update={"applied": True, "warnings": list(self._report.warnings)})

    def _warn(self, message: str) -> None:
        self._report.warnings.append(message)
        self._emit("warning", message=message)

    def _emit(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - each event has fields of its own
        event = events.build_event(kind, run_id=self._request.run_id, at=self._report.clock(), **fields)
        self._log.put(event)
        self._keeper.put(event.model_dump(mode="json"))


def _close_late(loading: asyncio.Future[Carriage]) -> None:
    """Let go of a workspace that nobody waited for."""
    if not loading.cancelled() and loading.exception() is None:
        threading.Thread(target=loading.result().close, name="langchain-sandbox-close").start()


@contextmanager
def _single_error() -> Iterator[None]:
    """Raise the one error in a task group's exception group as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None
