"""What a run needs before OpenCode can work: the model, the image and the workspace, found side by side."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from langchain_sandbox.config import ModelEndpoint
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.gateway.relay import GatewayFailure
from langchain_sandbox.gateway.rules import find_shortage
from langchain_sandbox.gateway.upstream import UpstreamError, find_upstream
from langchain_sandbox.report import REPOSITORY
from langchain_sandbox.run_folder import state_folder
from langchain_sandbox.workspace.carriage import Carriage, Copy, load
from langchain_sandbox.workspace.inbound.intake import take_intake

if TYPE_CHECKING:
    from langchain_sandbox.engine.base import Engine
    from langchain_sandbox.gateway.call import ModelSource
    from langchain_sandbox.request import RunRequest


@dataclass(slots=True, kw_only=True)
class Means:
    """What a container is made with.

    Args:
        image: The image's id.
        source: The model; `None` where nothing inside thinks, or it cannot be had.
        failure: Why it cannot be had.
        warnings: What the caller should know of them.
    """

    image: str
    source: ModelSource | None = None
    failure: GatewayFailure | None = None
    warnings: list[str] = field(default_factory=list)


async def find_means(request: RunRequest, engine: Engine) -> Means:
    """Ask the model server and look for the image.

    Args:
        request: What the run was asked for.
        engine: Where the container will be.

    Raises:
        SandboxConfigError: If what was asked for cannot work.
        SandboxUnavailableError: If the engine or the image is not there.
    """
    folder = request.workspace.path if request.workspace else None
    found, image = await asyncio.gather(
        _find_source(request), engine.require_image(request.image, workspace=folder), return_exceptions=True
    )
    for part in (found, image):
        if isinstance(part, BaseException) and not isinstance(part, UpstreamError):
            raise part
    means = Means(image=str(image), warnings=list(request.warnings))
    if isinstance(found, UpstreamError):
        means.failure = GatewayFailure(found.code, str(found))
    else:
        assert not isinstance(found, BaseException)  # noqa: S101 - for the type checker, which cannot follow the loop
        means.source = found
    if means.source is not None:
        shortage = find_shortage(means.source.context)
        means.warnings += [warning for warning in (shortage, means.source.note) if warning]
    return means


async def _find_source(request: RunRequest) -> ModelSource | None:
    if not isinstance(request.model, ModelEndpoint):
        return request.model
    wanted = request.command.model if request.command else None
    return await find_upstream(request.model, allow_remote=request.allow_remote_model, wanted=wanted)


class Loading:
    """A workspace that is being read, from now on.

    Args:
        request: What the run was asked for.
        engine: Where the container will be.
        cancelled: Set when the run is cancelled: whoever cancels need not wait until it is read.
    """

    def __init__(self, request: RunRequest, engine: Engine, *, cancelled: anyio.Event) -> None:
        self._request = request
        self._engine = engine
        self._cancelled = cancelled
        self._reading = asyncio.ensure_future(anyio.to_thread.run_sync(self._load))
        self._reading.add_done_callback(_look_at)
        self._empty: Carriage | None = None

    async def result(self) -> Carriage:
        """The workspace; an empty one if the run was cancelled before it was read.

        Raises:
            SandboxConfigError: If it cannot go in; the message says why.
        """
        if self._empty is not None:
            return self._empty
        leaving = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({self._reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        if not self._reading.done():
            self._empty = Copy(take_intake(None, self._request.limits))
            return self._empty
        return self._reading.result()

    async def aclose(self) -> None:
        """Let go of it, as soon as it is read."""
        if self._empty is not None:
            self._empty.close()
        if not self._reading.done():
            self._reading.add_done_callback(_close_late)
        elif self._reading.exception() is None:
            await anyio.to_thread.run_sync(self._reading.result().close)

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


def _look_at(reading: asyncio.Future[Carriage]) -> None:
    """Where the run fails for another reason, nobody else asks."""
    if not reading.cancelled():
        reading.exception()


def _close_late(reading: asyncio.Future[Carriage]) -> None:
    """Let go of a workspace that nobody waited for."""
    if not reading.cancelled() and reading.exception() is None:
        threading.Thread(target=reading.result().close, name="langchain-sandbox-close").start()
