"""What a container is made with: the image and the model, looked for side by side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_sandbox.config import ModelEndpoint
from langchain_sandbox.gateway.relay import GatewayFailure
from langchain_sandbox.gateway.rules import find_shortage
from langchain_sandbox.gateway.upstream import UpstreamError, find_upstream
from langchain_sandbox.held_limits import require_limits

if TYPE_CHECKING:
    from langchain_sandbox.engine.base import Engine
    from langchain_sandbox.gateway.call import ModelSource
    from langchain_sandbox.request import RunRequest


@dataclass(slots=True, kw_only=True)
class Means:
    """What a container is made with.

    Args:
        image: The image's id.
        runtime: The OCI runtime that it runs under.
        source: The model; `None` where nothing inside thinks, or it cannot be had.
        failure: Why it cannot be had.
        warnings: What the caller should know of them.
    """

    image: str
    runtime: str = ""
    source: ModelSource | None = None
    failure: GatewayFailure | None = None
    warnings: list[str] = field(default_factory=list)


async def find_means(request: RunRequest, engine: Engine, *, image: str | None = None) -> Means:
    """Ask the model server and look for the image.

    Args:
        request: What the run was asked for.
        engine: Where the container will be.
        image: The image's id, where there is a container already.

    Raises:
        SandboxConfigError: If what was asked for cannot work.
        SandboxUnavailableError: If the engine or the image is not there.
    """
    found, known = await asyncio.gather(
        _find_source(request), _find_image(request, engine, image), return_exceptions=True
    )
    for part in (found, known):
        if isinstance(part, BaseException) and not isinstance(part, UpstreamError):
            raise part
    means = Means(image=str(known), warnings=list(request.warnings))
    means.runtime = await engine.require_runtime(request.runtime)
    if image is None:
        warning = await require_limits(
            engine, means.image, ignored_allowed=request.allow_ignored_limits, runtime=request.runtime
        )
        means.warnings += [warning] if warning else []
    if isinstance(found, UpstreamError):
        means.failure = GatewayFailure(found.code, str(found))
    else:
        assert not isinstance(found, BaseException)  # noqa: S101 - for the type checker, which cannot follow the loop
        means.source = found
    if means.source is not None:
        shortage = find_shortage(means.source.context)
        means.warnings += [warning for warning in (shortage, means.source.note) if warning]
    return means


async def _find_image(request: RunRequest, engine: Engine, image: str | None) -> str:
    if image is not None:
        return image
    folder = request.workspace.path if request.workspace else None
    return await engine.require_image(request.image, workspace=folder)


async def _find_source(request: RunRequest) -> ModelSource | None:
    if not isinstance(request.model, ModelEndpoint):
        return request.model
    wanted = request.command.model if request.command else None
    return await find_upstream(request.model, allow_remote=request.allow_remote_model, wanted=wanted)
