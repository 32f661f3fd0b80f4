"""Several runs side by side: each result as it comes, or all of them in order."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.event_log import EventLog
from langchain_sandbox.handle import CANCEL_LIMIT
from langchain_sandbox.portal import get_portal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
    from concurrent.futures import Future

    from langchain_sandbox.events import SandboxEvent
    from langchain_sandbox.handle import RunHandle
    from langchain_sandbox.hook import Hook
    from langchain_sandbox.result import SandboxResult


def run_side_by_side(
    start: Callable[..., Awaitable[RunHandle]],
    requests: Sequence[str | Mapping[str, Any]],
    max_concurrency: int | None,
    *,
    check: Callable[..., None],
    hook: Hook,
) -> Generator[tuple[int, SandboxResult], None, None]:
    """As `arun_side_by_side`, from any thread, with or without an event loop. An interrupt (Ctrl-C) cancels all.

    Args:
        start: As there.
        requests: As there.
        max_concurrency: As there.
        check: As there.
        hook: Called from here with the events of all runs, those of a run before its result is given.
    """
    ended = threading.Event()
    log = EventLog()
    done: deque[tuple[int, SandboxResult]] = deque()
    tell = log.put if hook else None

    async def work() -> None:
        try:
            running = arun_side_by_side(start, requests, max_concurrency, check=check, tell=tell)
            async with aclosing(running) as results:
                async for each in results:
                    done.append(each)
                    log.nudge()
        finally:
            ended.set()

    future: Future[None] = get_portal().start_task_soon(work)
    future.add_done_callback(lambda _: log.close())
    try:
        while True:
            event = log.wait(unless=lambda: done)
            if event is not None:
                hook.call(event)
            elif done:
                yield done.popleft()
            else:
                break
        future.result()
    except BaseException:
        future.cancel()
        ended.wait(CANCEL_LIMIT)  # until the containers are gone
        while (late := log.take()) is not None:
            hook.call(late)
        raise


async def arun_side_by_side(
    start: Callable[..., Awaitable[RunHandle]],
    requests: Sequence[str | Mapping[str, Any]],
    max_concurrency: int | None,
    *,
    check: Callable[..., None],
    tell: Callable[[SandboxEvent], None] | None = None,
) -> AsyncGenerator[tuple[int, SandboxResult], None]:
    """Do several runs and give each one's place and result as it ends. If one cannot be tried, the others end.

    Closing it cancels those that are under way, and waits until their containers are gone.

    Args:
        start: Begins one, called with a request's arguments by name.
        requests: Tasks, or arguments by name.
        max_concurrency: How many at once; `None` for all.
        check: Called as `start` is, with all of them before the first one begins; raises if one cannot work.
        tell: Called with the events of all, if somebody wants them.

    Raises:
        SandboxConfigError: If what one of them asks for cannot work.
        SandboxUnavailableError: If the engine or the image is not there.
    """
    if max_concurrency is not None and max_concurrency < 1:
        msg = f"max_concurrency is a positive number of runs, not {max_concurrency!r}."
        raise SandboxConfigError(msg)
    if isinstance(requests, str):
        msg = "A batch is a list of tasks; for a single one there is run."
        raise SandboxConfigError(msg)
    calls: list[dict[str, Any]] = [{"task": each} if isinstance(each, str) else dict(each) for each in requests]
    await asyncio.to_thread(_check_all, check, calls)
    places = asyncio.Semaphore(max_concurrency) if max_concurrency is not None else nullcontext()

    entry = asyncio.Lock()  # they begin in order, and who comes first is served first

    async def run_one(call: Mapping[str, Any]) -> SandboxResult:
        async with places:
            async with entry:
                handle = await start(**call)
            return await _await_result(handle, tell)

    ended: asyncio.Queue[asyncio.Task[SandboxResult]] = asyncio.Queue()
    tasks = {asyncio.create_task(run_one(call)): index for index, call in enumerate(calls)}
    for task in tasks:
        task.add_done_callback(ended.put_nowait)
    try:
        for _ in calls:
            task = await ended.get()
            yield tasks.pop(task), task.result()
    finally:
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):  # the portal's cancelling goes on until it is heeded
            await asyncio.gather(*tasks, return_exceptions=True)


async def _await_result(handle: RunHandle, tell: Callable[[SandboxEvent], None] | None) -> SandboxResult:
    if tell is None:
        return await handle.aresult()
    async with handle:
        async for event in handle.aevents():
            tell(event)
        return await handle.aresult()


def in_order(results: Mapping[int, SandboxResult]) -> list[SandboxResult]:
    """The results of several runs, by their places.

    Args:
        results: All of them.
    """
    return [results[place] for place in sorted(results)]


def _check_all(check: Callable[..., None], calls: Sequence[Mapping[str, Any]]) -> None:
    for call in calls:
        check(**call)
