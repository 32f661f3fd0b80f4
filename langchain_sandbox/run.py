"""One run from start to end: prepare, make the container, talk with it, take it away, say what came of it."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from langchain_sandbox import events
from langchain_sandbox.config import ApplyPolicy
from langchain_sandbox.conversation import Assignment, Conversation
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.base import ByteStream, Container, ContainerSpec, Engine
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.engine.scratch import sweep_scratch
from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError
from langchain_sandbox.gateway.relay import GatewayFailure
from langchain_sandbox.gateway.rules import find_shortage
from langchain_sandbox.gateway.upstream import Upstream, UpstreamError, find_upstream
from langchain_sandbox.report import Report, build_fields
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.run_folder import EventFile, RunFolder, sweep_runs
from langchain_sandbox.workspace.applying.apply_result import apply_result
from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.inbound.intake import Intake, take_intake
from langchain_sandbox.workspace.inbound.selection import Repository
from langchain_sandbox.workspace.outbound.commits import CommitsError, read_commits
from langchain_sandbox.workspace.outbound.keep import keep_changes
from langchain_sandbox.workspace.outbound.patch import Patch, build_patch
from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.config import ChangesPolicy, Limits, ModelEndpoint, Retention, Workspace
    from langchain_sandbox.event_log import EventLog

_CLEANUP_LIMIT = 5.0
_END_LIMIT = 1.0
_FLUSH = 1.0
_SHOWN = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Everything that one run was asked for, checked."""

    run_id: str
    task: str
    workspace: Workspace | None
    endpoint: ModelEndpoint
    allow_remote_model: bool
    image: str | None
    limits: Limits
    timeout: float
    queue_timeout: float | None
    changes: ChangesPolicy
    retention: Retention


@dataclass(slots=True)
class _Prepared:
    """What there is before there is a container."""

    intake: Intake
    image: str
    upstream: Upstream | None = None
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
        self._report = Report(began=time.monotonic())
        self._conversation = Conversation(report=self._report, emit=self._emit, on_working=self._give_place)
        self._folder: RunFolder | None = None
        self._event_file: EventFile | None = None
        self._ended = anyio.Event()  # the engine said how the container ended

    def cancel(self) -> None:
        """Have the run end soon, with what was changed until then; call it on the portal's loop."""
        self._report.cancelled = True
        self._conversation.interrupt()

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
                await anyio.to_thread.run_sync(self._open_folder)
                writing = asyncio.create_task(self._write_events())
                patch = await self._run_prepared(prepared)
                try:
                    return await self._finish(prepared, patch)
                finally:
                    patch.close()
            finally:
                if writing is not None:
                    writing.cancel()
                await anyio.to_thread.run_sync(prepared.intake.close)
        finally:
            self._log.close()

    def _open_folder(self) -> None:
        """Make the folder in which the run is kept; where that is not possible, the run goes on without."""
        if not self._request.retention.keeps:
            return
        folder = RunFolder.of(self._request.run_id)
        try:
            folder.make()
        except OSError as error:
            self._warn(f"Nothing of the run is kept, since {folder.path} cannot be made: {error.strerror}.")
            return
        self._folder, self._event_file = folder, EventFile(folder)

    async def _write_events(self) -> None:
        """Write events down while the run lasts, so that they are there whatever becomes of this process."""
        while self._event_file is not None:
            await anyio.sleep(_FLUSH)
            await anyio.to_thread.run_sync(self._flush_events)

    def _flush_events(self) -> None:
        if self._event_file is not None:
            try:
                self._event_file.flush()
            except OSError as error:
                self._logger.warning("[%s] events are not kept: %s", self._request.run_id, error)

    async def _prepare(self) -> _Prepared:
        """Ask the model server, look for the image and read the workspace, all at once."""
        request = self._request
        folder = request.workspace.path if request.workspace else None
        found, image, intake = await asyncio.gather(
            find_upstream(request.endpoint, allow_remote=request.allow_remote_model),
            self._engine.require_image(request.image, workspace=folder),
            anyio.to_thread.run_sync(take_intake, request.workspace, request.limits),
            return_exceptions=True,
        )
        for part in (intake, found, image):
            if isinstance(part, BaseException) and not isinstance(part, UpstreamError):
                if isinstance(intake, Intake):
                    intake.close()
                raise part
        assert isinstance(intake, Intake)  # noqa: S101 - for the type checker, which cannot follow the loop
        prepared = _Prepared(intake, str(image))
        if isinstance(found, Upstream):
            prepared.upstream = found
            shortage = find_shortage(found.context)
            prepared.warnings += [shortage] if shortage else []
        elif isinstance(found, UpstreamError):
            prepared.failure = GatewayFailure(found.code, str(found))
        prepared.warnings += intake.warnings
        return prepared

    async def _run_prepared(self, prepared: _Prepared) -> Patch:
        for warning in prepared.warnings:
            self._warn(warning)
        if prepared.upstream is None or self._report.cancelled:
            self._report.failure = prepared.failure
            return Patch()
        receive = partial(ChangesReceiver, self._request.limits, acknowledge=self._conversation.acknowledge)
        changes = await anyio.to_thread.run_sync(receive)
        try:
            await self._in_container(prepared, prepared.upstream, changes)
            return await anyio.to_thread.run_sync(self._take_changes, prepared.intake, changes)
        finally:
            changes.close()

    async def _in_container(self, prepared: _Prepared, upstream: Upstream, changes: ChangesReceiver) -> None:
        request = self._request
        spec = ContainerSpec(
            name=f"langchain-sandbox-{request.run_id}",
            image=prepared.image,
            limits=request.limits,
            labels={labels.OWNER: await anyio.to_thread.run_sync(current_owner), labels.RUN: request.run_id},
        )
        assignment = Assignment(
            container=spec.name,
            task=request.task,
            timeout=request.timeout,
            limits=request.limits,
            upstream=upstream,
            intake=prepared.intake,
            changes=changes,
        )
        await self._take_place()
        container: Container | None = None
        stream: ByteStream | None = None
        helpers = [asyncio.create_task(self._collect_garbage())]
        try:
            container = await self._engine.create(spec)
            self._report.mark("created")
            stream = await container.attach()
            helpers.append(asyncio.create_task(self._watch_container(container)))
            with _single_error():
                await self._conversation.hold(assignment, stream=stream, start=container.start)
        finally:
            self._give_place()
            with anyio.CancelScope(shield=True):
                await self._take_away(container, stream)
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)

    async def _collect_garbage(self) -> None:
        try:
            await anyio.to_thread.run_sync(sweep_scratch)
            await self._engine.collect_garbage()
        except SandboxUnavailableError as error:
            self._logger.debug("[%s] collecting garbage: %s", self._request.run_id, error)

    async def _watch_container(self, container: Container) -> None:
        self._report.end = await container.wait()
        self._ended.set()

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

    async def _take_away(self, container: Container | None, stream: ByteStream | None) -> None:
        """Close the link, remove the container and learn how it ended, within five seconds."""
        confirmed = container is None
        with anyio.move_on_after(_CLEANUP_LIMIT):
            if stream is not None:
                if self._conversation.settled.is_set():
                    # It ends by itself now; how it does says more than how it dies when it is killed.
                    with anyio.move_on_after(_END_LIMIT):
                        await self._ended.wait()
                self._report.stderr = stream.stderr_tail
                await stream.aclose()
            if container is not None:
                confirmed = self._ended.is_set() and not self._report.end.lost
                confirmed = confirmed or await self._remove(container)
                await container.aclose()
        self._report.cleanup_confirmed = confirmed

    async def _remove(self, container: Container) -> bool:
        try:
            await container.remove()
        except SandboxUnavailableError as error:
            self._logger.warning("[%s] the container was not removed: %s", self._request.run_id, error)
            return False
        with anyio.move_on_after(_END_LIMIT):
            await self._ended.wait()
        return True

    def _take_changes(self, intake: Intake, changes: ChangesReceiver) -> Patch:
        """Make the patch, look at the commits, and keep both."""
        settled = changes.settle(intake.snapshot)
        for reason in [*self._report.left_inside(), *changes.skipped]:
            self._warn(f"A change stayed behind: {reason}")
        if self._request.changes == "discard":
            return Patch()
        patch = build_patch(intake.snapshot, settled)
        if self._folder is None:
            return patch
        try:
            keep_changes(self._folder, patch=patch, changes=settled, snapshot=intake.snapshot, bundle=changes.bundle)
        except OSError as error:
            self._warn(f"Not all of the run could be kept in {self._folder.path}: {error.strerror}.")
            self._folder = None
            return patch
        if changes.bundle is not None:
            self._take_commits(self._folder, intake)
        return patch

    def _take_commits(self, folder: RunFolder, intake: Intake) -> None:
        selection = intake.snapshot.selection
        if selection is None or selection.repository is None:
            return
        began = intake.history.head if intake.history is not None else None
        repository = selection.repository
        try:
            commits = read_commits(folder.bundle, Repository(repository.top, repository.prefix, began))
        except (CommitsError, GitError) as error:
            self._warn(f"The agent's commits stayed behind, and its files are in the patch: {error}")
            return
        self._report.commits = commits.commits
        if commits.branches:
            named = ", ".join(commits.branches[:_SHOWN])
            self._warn(f"The agent also made commits on other branches ({named}), which only {folder.bundle} has.")

    async def _finish(self, prepared: _Prepared, patch: Patch) -> SandboxResult:
        result = await anyio.to_thread.run_sync(self._build_result, prepared, patch)
        if result.ok and self._request.changes == "apply" and self._request.workspace is not None:
            result = await self._apply(result, self._request.workspace)
        self._logger.info("[%s] run ended: %s (%s)", result.run_id, result.status, result.ending.code)
        self._emit("finished", status=result.status, ok=result.ok)
        await anyio.to_thread.run_sync(self._keep_result, result)
        return result

    def _build_result(self, prepared: _Prepared, patch: Patch) -> SandboxResult:
        fields = build_fields(
            self._report,
            run_id=self._request.run_id,
            patch=patch,
            intake=prepared.intake,
            image=prepared.image,
            model=prepared.upstream.model if prepared.upstream else "",
            patch_file=str(self._folder.patch) if self._folder is not None else None,
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

    def _keep_result(self, result: SandboxResult) -> None:
        """Close the run's folder, and make room for others."""
        if self._folder is None:
            return
        self._flush_events()
        try:
            self._folder.finish(result.model_dump(mode="json"))
            sweep_runs(self._request.retention, latest=self._request.run_id)
        except OSError as error:
            self._logger.warning("[%s] the result is not kept: %s", self._request.run_id, error)

    def _warn(self, message: str) -> None:
        self._report.warnings.append(message)
        self._emit("warning", message=message)

    def _emit(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - each event has fields of its own
        event = events.build_event(kind, run_id=self._request.run_id, at=self._report.clock(), **fields)
        self._log.put(event)
        if self._event_file is not None:
            self._event_file.put(event.model_dump(mode="json"))


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
