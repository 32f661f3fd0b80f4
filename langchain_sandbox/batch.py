"""Several runs side by side."""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.event_log import EventLog
from langchain_sandbox.handle import CANCEL_LIMIT
from langchain_sandbox.portal import get_portal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from concurrent.futures import Future

    from langchain_sandbox.hook import Hook
    from langchain_sandbox.result import SandboxResult


def run_side_by_side(
    run: Callable[..., Awaitable[SandboxResult]],
    requests: Sequence[str | Mapping[str, Any]],
    max_concurrency: int | None,
    *,
    check: Callable[..., None],
    hook: Hook,
) -> list[SandboxResult]:
    """As `arun_side_by_side`, from any thread, with or without an event loop. An interrupt (Ctrl-C) cancels all.

    Args:
        run: Does one; where there is a hook, `tell=` takes its events.
        requests: As there.
        max_concurrency: As there.
        check: As there.
        hook: Called from here with the events of all runs.
    """
    ended = threading.Event()
    log = EventLog()
    do = partial(run, tell=log.put) if hook else run

    async def work() -> list[SandboxResult]:
        try:
            return await arun_side_by_side(do, requests, max_concurrency, check=check)
        finally:
            ended.set()

    future: Future[list[SandboxResult]] = get_portal().start_task_soon(work)
    future.add_done_callback(lambda _: log.close())
    try:
        for event in log:
            hook.call(event)
        return future.result()
    except BaseException:
        future.cancel()
        ended.wait(CANCEL_LIMIT)  # until the containers are gone
        while (late := log.take()) is not None:
            hook.call(late)
        raise


async def arun_side_by_side(
    run: Callable[..., Awaitable[SandboxResult]],
    requests: Sequence[str | Mapping[str, Any]],
    max_concurrency: int | None,
    *,
    check: Callable[..., None],
) -> list[SandboxResult]:
    """Do several runs and give their results in order. If one cannot be tried, the others are cancelled.

    Args:
        run: Does one, called with a request's arguments by name.
        requests: Tasks, or arguments by name.
        max_concurrency: How many at once; `None` for all.
        check: Called as `run` is, with all of them before the first one begins; raises if one cannot work.

    Raises:
        SandboxConfigError: If what one of them asks for cannot work.
        SandboxUnavailableError: If the engine or the image is not there.
    """
    if max_concurrency is not None and max_concurrency < 1:
        msg = f"max_concurrency is a positive number of runs, not {max_concurrency!r}."
        raise SandboxConfigError(msg)
    if isinstance(requests, str):
        msg = "batch takes a list of tasks; for a single one there is run."
        raise SandboxConfigError(msg)
    calls: list[dict[str, Any]] = [{"task": each} if isinstance(each, str) else dict(each) for each in requests]
    await asyncio.to_thread(_check_all, check, calls)
    places = asyncio.Semaphore(max_concurrency) if max_concurrency is not None else nullcontext()

    async def run_one(call: Mapping[str, Any]) -> SandboxResult:
        async with places:
            return await run(**call)

    tasks = [asyncio.ensure_future(run_one(call)) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):  # the portal's cancelling goes on until it is heeded
            await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _check_all(check: Callable[..., None], calls: Sequence[Mapping[str, Any]]) -> None:
    for call in calls:
        check(**call)
