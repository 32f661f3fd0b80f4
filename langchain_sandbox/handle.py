"""A run that is under way, held from any thread or loop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Self

from langchain_sandbox.portal import call_soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.event_log import EventLog
    from langchain_sandbox.events import SandboxEvent
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.run import Run

CANCEL_LIMIT = 5.0
"""Seconds that whoever cancels a run waits for its end."""


async def begin(start: Callable[[], RunHandle]) -> RunHandle:
    """Start a run in a thread. If the waiting task is cancelled meanwhile, so is the run: nobody would have its handle.

    Args:
        start: Starts it.
    """
    begun: Future[RunHandle] = Future()

    def work() -> None:
        try:
            begun.set_result(start())
        except BaseException as error:  # noqa: BLE001 - for whoever waits
            begun.set_exception(error)

    try:
        await asyncio.to_thread(work)
    except asyncio.CancelledError:
        begun.add_done_callback(_cancel_late)
        raise
    return begun.result()


def _cancel_late(begun: Future[RunHandle]) -> None:
    if begun.exception() is None:
        begun.result().cancel()


class RunHandle:
    """One run: wait for it, watch it, cancel it. Made by `Sandbox.start`.

    As a context manager, of either kind, it cancels a run that is not over when the block is left.

    Example:
        ```python
        with sandbox.start("Fix the failing test.") as handle:
            for event in handle.events():
                print(event)
            result = handle.result()
        ```
    """

    def __init__(self, *, run: Run, future: Future[SandboxResult], log: EventLog, run_id: str) -> None:
        self.run_id = run_id
        self._run = run
        self._future = future
        self._log = log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.done:
            self._cancel_and_wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.done:
            await self._acancel_and_wait()

    @property
    def changes(self) -> ChangesPolicy:
        """What becomes of the changes: what the caller or the sandbox says, or less where the command does."""
        return self._run.changes

    @property
    def timeout(self) -> float:
        """Seconds that the run may take from its container's start."""
        return self._run.timeout

    @property
    def done(self) -> bool:
        """Whether the run is over."""
        return self._future.done()

    def result(self) -> SandboxResult:
        """Wait for the result. If the wait is interrupted (Ctrl-C), the run is cancelled first.

        Raises:
            SandboxConfigError: If what was asked for cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
        """
        try:
            return self._future.result()
        except BaseException:
            if not self._future.done():
                self._cancel_and_wait()
            raise

    async def aresult(self) -> SandboxResult:
        """As `result`. If the waiting task is cancelled, the run is too, and its container gone before this returns."""
        waiting = asyncio.wrap_future(self._future)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not self._future.done():
                await self._acancel_and_wait()
            raise

    def cancel(self) -> None:
        """Ask the run to end; it does within five seconds, with a result that says `cancelled`."""
        if not self._future.done():
            call_soon(self._run.cancel)

    async def acancel(self) -> None:
        """As `cancel`, and wait until it has ended, five seconds at most."""
        await self._acancel_and_wait()

    def events(self) -> Iterator[SandboxEvent]:
        """What happens, as it happens, until the run is over. For one reader."""
        return iter(self._log)

    def aevents(self) -> AsyncIterator[SandboxEvent]:
        """As `events`, in an event loop."""
        return aiter(self._log)

    def _cancel_and_wait(self) -> None:
        self.cancel()
        try:
            self._future.result(CANCEL_LIMIT)
        except Exception:  # noqa: BLE001 - whoever interrupted us wants their own exception
            return

    async def _acancel_and_wait(self) -> None:
        """Wait for the end even if the waiting task is cancelled once more, as a closing event loop does to all."""
        self.cancel()
        waiting = asyncio.wrap_future(self._future)
        deadline = time.monotonic() + CANCEL_LIMIT
        cancelled: asyncio.CancelledError | None = None
        while not waiting.done() and (left := deadline - time.monotonic()) > 0:
            try:
                await asyncio.wait({waiting}, timeout=left)
            except asyncio.CancelledError as error:
                cancelled = error
        if waiting.done() and not waiting.cancelled():
            waiting.exception()  # known; whoever wants it asks for the result
        if cancelled is not None:
            raise cancelled
