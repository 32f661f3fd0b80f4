"""Calls a user's `on_event` with a run's events, for metrics, logs and the like: beside the run and never in it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING

from langchain_sandbox.cancelling import is_being_cancelled
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain_sandbox.events import SandboxEvent

    OnEvent = Callable[[SandboxEvent], Awaitable[object] | object]
    """Called with each event of every run."""

logger = logging.getLogger(__name__)


class Hook:
    """Calls it for one run, or for several that are waited for together. What it raises is logged and ends nothing.

    Args:
        function: What is called; `None` for nothing. A coroutine function is awaited, which only the asynchronous
            methods can do.
    """

    def __init__(self, function: OnEvent | None) -> None:
        self._function = function
        self._failed = False

    def __bool__(self) -> bool:
        return self._function is not None

    def require_sync(self) -> None:
        """Refuse what only an event loop could call.

        Raises:
            SandboxConfigError: If it is a coroutine function.
        """
        if self._function is not None and is_coroutine_function(self._function):
            msg = (
                "on_event is a coroutine function, so its events can be waited for in an event loop only: use arun, "
                "astream, abatch, or a handle's aresult and aevents; or give an ordinary function."
            )
            raise SandboxConfigError(msg)

    def call(self, event: SandboxEvent) -> None:
        """Call it, in this thread and its context."""
        if self._function is None:
            return
        try:
            answer = self._function(event)
            if inspect.iscoroutine(answer):  # of a function that does not look like one that makes these
                answer.close()
                msg = "on_event gave a coroutine, which only the asynchronous methods await"
                raise TypeError(msg)  # noqa: TRY301 - for the log, as what it raises itself
        except Exception:  # noqa: BLE001 - the user's own, whatever it is
            self._note(event)

    async def acall(self, event: SandboxEvent) -> None:
        """As `call`, in an event loop; an ordinary function is called in it, too, and must not block."""
        if self._function is None:
            return
        try:
            answer = self._function(event)
            if inspect.isawaitable(answer):
                await answer
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            self._note(event)
        except Exception:  # noqa: BLE001 - the user's own, whatever it is
            self._note(event)

    def _note(self, event: SandboxEvent) -> None:
        level = logging.DEBUG if self._failed else logging.WARNING
        self._failed = True
        logger.log(level, "[%s] on_event failed; the run goes on", event.run_id, exc_info=True)


def is_coroutine_function(function: OnEvent) -> bool:
    """Whether to call it gives something to await, as for a coroutine function or an object that has one to be called.

    Args:
        function: The function, or any callable.
    """
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - an object's
