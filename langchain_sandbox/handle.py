"""A run that is under way, held from any thread or loop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.hook import Hook
from langchain_sandbox.portal import call_soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.event_log import EventLog
    from langchain_sandbox.events import SandboxEvent
    from langchain_sandbox.hook import OnEvent
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

    def __init__(
        self, *, run: Run, future: Future[SandboxResult], log: EventLog, run_id: str, on_event: OnEvent | None = None
    ) -> None:
        self.run_id = run_id
        self._run = run
        self._future = future
        self._log = log
        self._hook = Hook(on_event)
        self._readers = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.done:
            self._cancel_and_wait()
        self._tell_rest()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.done:
            await self._acancel_and_wait()
        await self._atell_rest()

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

        Where nobody reads the events, the sandbox's `on_event` is called with them from here.

        Raises:
            SandboxConfigError: If what was asked for cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
        """
        try:
            self._hook.require_sync()
            if self._hook and not self._readers:
                for event in self._log:
                    self._hook.call(event)
            result = self._future.result()
            self._tell_rest()
        except BaseException:
            if not self._future.done():
                self._cancel_and_wait()
            self._tell_rest()
            raise
        return result

    async def aresult(self) -> SandboxResult:
        """As `result`. If the waiting task is cancelled, the run is too, and its container gone before this returns."""
        waiting = asyncio.wrap_future(self._future)
        try:
            if self._hook and not self._readers:
                async for event in self._log:
                    await self._hook.acall(event)
            result = await asyncio.shield(waiting)
            await self._atell_rest()
        except asyncio.CancelledError:
            if not self._future.done():
                await self._acancel_and_wait()
            await self._atell_rest()
            raise
        return result

    def cancel(self) -> None:
        """Ask the run to end; it does within five seconds, with a result that says `cancelled`."""
        if not self._future.done():
            call_soon(self._run.cancel)

    async def acancel(self) -> None:
        """As `cancel`, and wait until it has ended, five seconds at most."""
        await self._acancel_and_wait()

    def events(self) -> Iterator[SandboxEvent]:
        """What happens, as it happens, until the run is over. For one reader.

        The sandbox's `on_event` is called with each of them just before the reader gets it.

        Raises:
            SandboxConfigError: If `on_event` is a coroutine function.
        """
        self._hook.require_sync()
        return self._listen()

    def aevents(self) -> AsyncIterator[SandboxEvent]:
        """As `events`, in an event loop."""
        return self._alisten()

    def _listen(self) -> Iterator[SandboxEvent]:
        with self._reading():
            for event in self._log:
                self._hook.call(event)
                yield event

    async def _alisten(self) -> AsyncIterator[SandboxEvent]:
        with self._reading():
            async for event in self._log:
                await self._hook.acall(event)
                yield event

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """While somebody reads, whoever waits for the result leaves the events to them."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    def _tell_rest(self) -> None:
        """Call the hook with what is there and nobody has read, as after a reader that has stopped early."""
        with suppress(SandboxConfigError):
            self._hook.require_sync()
            while self._hook and not self._readers and (event := self._log.take()) is not None:
                self._hook.call(event)

    async def _atell_rest(self) -> None:
        while self._hook and not self._readers and (event := self._log.take()) is not None:
            await self._hook.acall(event)

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
