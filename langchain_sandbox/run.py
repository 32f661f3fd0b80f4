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
from langchain_sandbox.conversation import Assignment, Conversation
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.base import ByteStream, Container, ContainerSpec, Engine
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.engine.scratch import sweep_scratch
from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError
from langchain_sandbox.gateway.relay import GatewayFailure
from langchain_sandbox.gateway.rules import find_shortage
from langchain_sandbox.gateway.upstream import Upstream, UpstreamError, find_upstream
from langchain_sandbox.report import Report, build_fields, store_patch
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.workspace.apply import apply_patch
from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.history import History, take_history
from langchain_sandbox.workspace.patch import Patch, build_patch
from langchain_sandbox.workspace.receiver import ChangesReceiver
from langchain_sandbox.workspace.snapshot import Snapshot, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from langchain_sandbox.config import ChangesPolicy, Limits, ModelEndpoint
    from langchain_sandbox.event_log import EventLog

_CLEANUP_LIMIT = 5.0
_END_LIMIT = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Everything that one run was asked for, checked."""

    run_id: str
    task: str
    workspace: Path | None
    endpoint: ModelEndpoint
    allow_remote_model: bool
    image: str | None
    limits: Limits
    timeout: float
    queue_timeout: float | None
    changes: ChangesPolicy


@dataclass(slots=True)
class _Prepared:
    """What there is before there is a container."""

    snapshot: Snapshot
    image: str
    upstream: Upstream | None = None
    history: History | None = None
    failure: GatewayFailure | None = None
    warnings: list[str] = field(default_factory=list)

    def close(self) -> None:
        self.snapshot.close()
        if self.history is not None:
            self.history.close()


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
            try:
                patch = await self._run_prepared(prepared)
                return await self._finish(prepared, patch)
            finally:
                prepared.close()
        finally:
            self._log.close()

    async def _prepare(self) -> _Prepared:
        """Ask the model server, look for the image and read the workspace, all at once."""
        request = self._request
        found, image, snapshot = await asyncio.gather(
            find_upstream(request.endpoint, allow_remote=request.allow_remote_model),
            self._engine.require_image(request.image, workspace=request.workspace),
            anyio.to_thread.run_sync(take_snapshot, request.workspace, request.limits),
            return_exceptions=True,
        )
        for part in (snapshot, found, image):
            if isinstance(part, BaseException) and not isinstance(part, UpstreamError):
                if isinstance(snapshot, Snapshot):
                    snapshot.close()
                raise part
        assert isinstance(snapshot, Snapshot)  # noqa: S101 - for the type checker, which cannot follow the loop
        prepared = _Prepared(snapshot, str(image))
        if isinstance(found, Upstream):
            prepared.upstream = found
            shortage = find_shortage(found.context)
            prepared.warnings += [shortage] if shortage else []
        elif isinstance(found, UpstreamError):
            prepared.failure = GatewayFailure(found.code, str(found))
        if snapshot.repository and snapshot.root is not None and prepared.failure is None:
            try:
                prepared.history = await anyio.to_thread.run_sync(take_history, snapshot.root)
            except GitError as error:
                prepared.warnings.append(f"The repository's history stayed behind: {error}")
        prepared.warnings += [f"Left out on the way in: {reason}" for reason in snapshot.skipped]
        return prepared

    async def _run_prepared(self, prepared: _Prepared) -> Patch:
        for warning in prepared.warnings:
            self._warn(warning)
        if prepared.upstream is None or self._report.cancelled:
            self._report.failure = prepared.failure
            return Patch("", [])
        receive = partial(ChangesReceiver, self._request.limits, acknowledge=self._conversation.acknowledge)
        changes = await anyio.to_thread.run_sync(receive)
        try:
            await self._in_container(prepared, prepared.upstream, changes)
            return await self._take_patch(prepared.snapshot, changes)
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
            snapshot=prepared.snapshot,
            history=prepared.history,
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

    async def _take_patch(self, snapshot: Snapshot, changes: ChangesReceiver) -> Patch:
        settled = await anyio.to_thread.run_sync(changes.settle, snapshot)
        for reason in [*self._report.left_inside(), *changes.skipped]:
            self._warn(f"A change stayed behind: {reason}")
        if self._request.changes == "discard":
            return Patch("", [])
        return await anyio.to_thread.run_sync(build_patch, snapshot, settled)

    async def _finish(self, prepared: _Prepared, patch: Patch) -> SandboxResult:
        build = partial(
            build_fields,
            self._report,
            run_id=self._request.run_id,
            patch=patch,
            snapshot=prepared.snapshot,
            image=prepared.image,
            model=prepared.upstream.model if prepared.upstream else "",
            store=store_patch,
        )
        result = SandboxResult.model_validate(await anyio.to_thread.run_sync(build))
        if result.ok and self._request.changes == "apply":
            result = await self._apply(result, patch, prepared.snapshot)
        self._logger.info("[%s] run ended: %s (%s)", result.run_id, result.status, result.ending.code)
        self._emit("finished", status=result.status, ok=result.ok)
        return result

    async def _apply(self, result: SandboxResult, patch: Patch, snapshot: Snapshot) -> SandboxResult:
        if snapshot.root is None:
            return result
        apply = partial(apply_patch, snapshot.root, patch.text, digest=snapshot.digest, limits=self._request.limits)
        try:
            await anyio.to_thread.run_sync(apply)
        except SandboxConfigError as error:
            self._warn(f"The changes were not applied: {error}")
            return result.model_copy(update={"warnings": list(self._report.warnings)})
        return result.model_copy(update={"applied": True})

    def _warn(self, message: str) -> None:
        self._report.warnings.append(message)
        self._emit("warning", message=message)

    def _emit(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - each event has fields of its own
        self._log.put(events.build_event(kind, run_id=self._request.run_id, at=self._report.clock(), **fields))


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
