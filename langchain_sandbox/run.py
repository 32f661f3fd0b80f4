"""One run from start to end: prepare, make the container, talk over the link, take it away, say what came of it."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from langchain_sandbox import events, outcome
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.base import ByteStream, Container, ContainerSpec, Engine
from langchain_sandbox.engine.connection import Connection
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.errors import SandboxUnavailableError
from langchain_sandbox.gateway.relay import Gateway, GatewayFailure, ModelCall
from langchain_sandbox.gateway.upstream import Upstream, UpstreamError, find_upstream
from langchain_sandbox.link import PROTOCOL_VERSION, Channel, Data, LinkEvent, Message
from langchain_sandbox.report import Report, build_result
from langchain_sandbox.transcript import Transcript
from langchain_sandbox.workspace.changes import ChangesReceiver
from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.history import History, take_history
from langchain_sandbox.workspace.patch import Patch, build_patch
from langchain_sandbox.workspace.snapshot import Snapshot, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from langchain_sandbox.config import ChangesPolicy, Limits, ModelEndpoint
    from langchain_sandbox.event_log import EventLog
    from langchain_sandbox.result import SandboxResult

_CHUNK = 64 * 1024
_TAR_STREAM = 1
_PACK_STREAM = 2

_READY_LIMIT = 30.0
_STALL_LIMIT = 60.0
_ABORT_GRACE = 3.0  # for what was changed until then to come out
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
    snapshot: Snapshot
    image: str
    upstream: Upstream | None
    history: History | None
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

    def __init__(
        self, request: RunRequest, *, engine: Engine, places: anyio.CapacityLimiter, log: EventLog
    ) -> None:
        self._request = request
        self._engine = engine
        self._places = places
        self._log = log
        self._logger = logging.LoggerAdapter(logger, {"run_id": request.run_id})
        self._transcript = Transcript(self._emit)
        self._report = Report(began=time.monotonic())
        self._attention = anyio.Event()  # something happened that may end the run
        self._settled = anyio.Event()  # nothing more will come from the container
        self._ended = anyio.Event()  # the engine said how the container ended
        self._ready = anyio.Event()
        self._working = anyio.Event()
        self._model = ""
        self._link: Connection | None = None
        self._gateway: Gateway | None = None
        self._changes: ChangesReceiver | None = None

    def cancel(self) -> None:
        """Have the run end soon, with what was changed until then; call it on the portal's loop."""
        self._report.cancelled = True
        self._attention.set()

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
                return self._finish(prepared, patch)
            finally:
                prepared.close()
        finally:
            self._log.close()

    # Before there is a container.

    async def _prepare(self) -> _Prepared:
        """Ask the model server, look for the image and read the workspace, all at once."""
        request = self._request
        upstream, image, snapshot = await asyncio.gather(
            find_upstream(request.endpoint, allow_remote=request.allow_remote_model),
            self._engine.require_image(request.image),
            anyio.to_thread.run_sync(take_snapshot, request.workspace, request.limits),
            return_exceptions=True,
        )
        failure = None
        if isinstance(upstream, UpstreamError):
            failure, upstream = GatewayFailure(upstream.code, str(upstream)), None
        for found in (snapshot, upstream, image):
            if isinstance(found, BaseException):
                if isinstance(snapshot, Snapshot):
                    snapshot.close()
                raise found
        assert isinstance(snapshot, Snapshot)  # noqa: S101 - for the type checker
        prepared = _Prepared(snapshot, str(image), upstream, None, failure)
        if snapshot.repository and snapshot.root is not None and failure is None:
            try:
                prepared.history = await anyio.to_thread.run_sync(take_history, snapshot.root)
            except GitError as error:
                prepared.warnings.append(f"The repository's history stayed behind: {error}")
        prepared.warnings += [f"Left out on the way in: {reason}" for reason in snapshot.skipped]
        return prepared

    async def _run_prepared(self, prepared: _Prepared) -> Patch:
        for warning in prepared.warnings:
            self._warn(warning)
        if prepared.upstream is None:
            self._report.failure = prepared.failure
            return Patch("", [])
        if self._report.cancelled:
            return Patch("", [])
        self._changes = ChangesReceiver(self._request.limits, acknowledge=self._acknowledge)
        try:
            await self._in_container(prepared, prepared.upstream)
            return await self._take_patch(prepared.snapshot, self._changes)
        finally:
            self._changes.close()

    # While there is one.

    async def _in_container(self, prepared: _Prepared, upstream: Upstream) -> None:
        request = self._request
        self._model = upstream.model
        spec = ContainerSpec(
            name=f"langchain-sandbox-{request.run_id}",
            image=prepared.image,
            limits=request.limits,
            labels={labels.OWNER: current_owner(), labels.RUN: request.run_id},
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
                await self._converse(prepared, upstream, container, stream)
        finally:
            self._give_place()
            with anyio.CancelScope(shield=True):
                await self._take_away(container, stream)
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)

    async def _collect_garbage(self) -> None:
        try:
            await self._engine.collect_garbage()
        except SandboxUnavailableError as error:
            self._logger.debug("[%s] collecting garbage: %s", self._request.run_id, error)

    async def _watch_container(self, container: Container) -> None:
        self._report.end = await container.wait()
        self._ended.set()

    async def _converse(
        self, prepared: _Prepared, upstream: Upstream, container: Container, stream: ByteStream
    ) -> None:
        async with anyio.create_task_group() as tasks:
            self._link = link = Connection(stream, on_event=self._on_event)
            self._gateway = Gateway(
                upstream=upstream,
                limits=self._request.limits,
                tasks=tasks,
                on_call=self._on_call,
                on_failure=self._on_failure,
            )
            self._gateway.connect(link)
            tasks.start_soon(self._serve_link, link)
            link.send_message(self._build_hello(upstream))
            tasks.start_soon(self._send_workspace, link, prepared)
            link.send_message({"type": "task", "title": "task", "agent": "build", "text": self._request.task})
            await container.start()
            self._report.mark("started")
            tasks.start_soon(self._watch_boot)
            with anyio.move_on_after(self._request.timeout) as clock:
                await self._attention.wait()
            if clock.cancelled_caught:
                self._report.timed_out = self._request.timeout
            if not self._settled.is_set():
                self._logger.info("[%s] ending early", self._request.run_id)
                link.send_message({"type": "abort"})
                with anyio.move_on_after(_ABORT_GRACE):
                    await self._settled.wait()
            self._report.mark("worked")
            with anyio.move_on_after(_END_LIMIT):
                await link.drain()  # the last word is bye; without it the program would end as an orphan
            tasks.cancel_scope.cancel()

    async def _serve_link(self, link: Connection) -> None:
        await link.run()
        self._report.link_broken = link.broken
        self._settled.set()
        self._attention.set()

    async def _watch_boot(self) -> None:
        """See to it that the program answers, and that OpenCode then asks the model, before long."""
        with anyio.move_on_after(_READY_LIMIT) as boot:
            await self._ready.wait()
        if boot.cancelled_caught:
            self._stall(f"The program in the container did not answer within {_READY_LIMIT:g} s.")
            return
        await self._working.wait()
        self._give_place()
        await anyio.sleep(_STALL_LIMIT)
        if self._gateway is not None and not self._gateway.calls:
            self._stall(f"OpenCode had its task for {_STALL_LIMIT:g} s and did not ask the model.")

    def _stall(self, message: str) -> None:
        self._report.stalled = message
        self._attention.set()

    async def _send_workspace(self, link: Connection, prepared: _Prepared) -> None:
        history = prepared.history
        link.send_message({"type": "workspace", "git": history.describe() if history else None})
        await _send_file(link, prepared.snapshot.archive, _TAR_STREAM)
        if history is not None:
            await _send_file(link, history.pack, _PACK_STREAM)

    def _build_hello(self, upstream: Upstream) -> dict[str, Any]:
        return {
            "type": "hello",
            "protocol": PROTOCOL_VERSION,
            "deadline": self._request.timeout,
            "model": {"context": upstream.context, "output": upstream.output},
            "changes_limit": self._request.limits.size("changes"),
        }

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
                if self._settled.is_set():
                    # It ends by itself now; how it does says more than how it dies when it is killed.
                    with anyio.move_on_after(_END_LIMIT):
                        await self._ended.wait()
                self._report.stderr = stream.stderr_tail
                await stream.aclose()
            if container is not None and not self._ended.is_set():
                confirmed = await self._remove(container)
            confirmed = confirmed or (self._ended.is_set() and not self._report.end.lost)
            if container is not None:
                await container.aclose()
            if self._gateway is not None:
                await self._gateway.aclose()
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

    # What the container says. Called by the reader of the link; must not block.

    def _on_event(self, event: LinkEvent) -> None:
        match event:
            case Message(channel=Channel.EVENTS, body=body):
                self._transcript.on_event(body)
            case Message(channel=Channel.CONTROL, body=body):
                self._on_control(body)
            case Message(channel=Channel.FILES, stream=0, body=body):
                self._on_result(body)
            case _ if event.channel is Channel.MODEL and self._gateway is not None:
                self._report.mark("first_model_call")
                self._gateway.on_event(event)
            case _ if event.channel is Channel.FILES and self._changes is not None:
                self._changes.on_event(event)
            case Data():
                self._acknowledge(event)
            case _:
                pass

    def _on_control(self, body: dict[str, Any]) -> None:
        match body.get("type"):
            case "ready":
                self._report.mark("ready")
                self._ready.set()
                self._emit("started", container=f"langchain-sandbox-{self._request.run_id}", model=self._model)
            case "working":
                self._working.set()
            case "failed":
                self._on_result({"error": {"name": body.get("code"), "message": body.get("message")}})
            case _:
                pass

    def _on_result(self, body: dict[str, Any]) -> None:
        if self._report.claim is None:
            self._report.claim = body
            if self._link is not None:
                self._link.send_message({"type": "bye"})
            self._settled.set()
            self._attention.set()

    def _on_call(self, call: ModelCall) -> None:
        self._emit(
            "model_call",
            index=call.index,
            status=call.status,
            first_byte=call.first_byte,
            duration=call.duration or 0.0,
            prompt_tokens=call.usage.prompt_tokens,
            completion_tokens=call.usage.completion_tokens,
            error=call.error,
        )

    def _on_failure(self, failure: GatewayFailure) -> None:
        self._report.failure = failure
        self._attention.set()

    def _acknowledge(self, data: Data) -> None:
        if self._link is not None:
            self._link.acknowledge(data)

    # After it is gone.

    async def _take_patch(self, snapshot: Snapshot, changes: ChangesReceiver) -> Patch:
        settled = changes.settle(snapshot)
        for reason in changes.skipped:
            self._warn(f"A change stayed behind: {reason}")
        if self._request.changes == "discard":
            return Patch("", [])
        return await anyio.to_thread.run_sync(build_patch, snapshot, settled)

    def _finish(self, prepared: _Prepared, patch: Patch) -> SandboxResult:
        self._report.steps = self._transcript.steps
        self._report.gateway = self._gateway
        status, ending = outcome.decide(self._report.facts())
        result = build_result(
            self._report,
            run_id=self._request.run_id,
            status=status,
            ending=ending,
            patch=patch,
            snapshot=prepared.snapshot,
            image=prepared.image,
            model=prepared.upstream.model if prepared.upstream else "",
        )
        self._logger.info("[%s] run ended: %s (%s)", result.run_id, result.status, result.ending.code)
        self._emit("finished", status=result.status, ok=result.ok)
        return result

    def _warn(self, message: str) -> None:
        self._report.warnings.append(message)
        self._emit("warning", message=message)

    def _emit(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - each event has fields of its own
        self._log.put(_EVENTS[kind](run_id=self._request.run_id, at=self._report.clock(), **fields))


_EVENTS: dict[str, Any] = {
    "started": events.StartedEvent,
    "text": events.TextEvent,
    "tool_started": events.ToolStartedEvent,
    "tool_ended": events.ToolEndedEvent,
    "model_call": events.ModelCallEvent,
    "step": events.StepEvent,
    "warning": events.WarningEvent,
    "finished": events.FinishedEvent,
}


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


async def _send_file(link: Connection, file: IO[bytes], stream: int) -> None:
    file.seek(0)
    # Read in the loop: it was written a moment ago and is in the page cache.
    while chunk := file.read(_CHUNK):
        await link.send_data(chunk, channel=Channel.FILES, stream=stream)
    link.send_end(channel=Channel.FILES, stream=stream)
