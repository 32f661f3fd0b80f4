"""Several runs side by side."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.portal import get_portal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from concurrent.futures import Future

    from langchain_sandbox.result import SandboxResult


def run_side_by_side(
    run: Callable[..., Awaitable[SandboxResult]],
    requests: Sequence[str | Mapping[str, Any]],
    max_concurrency: int | None,
) -> list[SandboxResult]:
    """As `arun_side_by_side`, from any thread, with or without an event loop. An interrupt (Ctrl-C) cancels all."""
    future: Future[list[SandboxResult]] = get_portal().start_task_soon(
        arun_side_by_side, run, requests, max_concurrency
    )
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def arun_side_by_side(
    run: Callable[..., Awaitable[SandboxResult]],
    requests: Sequence[str | Mapping[str, Any]],
    max_concurrency: int | None,
) -> list[SandboxResult]:
    """Do several runs and give their results in order. If one cannot be tried, the others are cancelled.

    Args:
        run: Does one, called with a request's arguments by name.
        requests: Tasks, or arguments by name.
        max_concurrency: How many at once; `None` for all.

    Raises:
        SandboxConfigError: If what one of them asks for cannot work.
        SandboxUnavailableError: If the engine or the image is not there.
    """
    if max_concurrency is not None and max_concurrency < 1:
        msg = f"max_concurrency is a positive number of runs, not {max_concurrency!r}."
        raise SandboxConfigError(msg)
    places = asyncio.Semaphore(max_concurrency) if max_concurrency is not None else nullcontext()

    async def run_one(request: str | Mapping[str, Any]) -> SandboxResult:
        async with places:
            return await run(**({"task": request} if isinstance(request, str) else request))

    tasks = [asyncio.ensure_future(run_one(request)) for request in requests]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
