"""Whoever shows the runs that somebody waits for in `Sandbox.run` and `arun`: nobody, unless a notebook asks for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from langchain_sandbox.handle import RunHandle
    from langchain_sandbox.result import SandboxResult


class Watcher(Protocol):
    """Shows a run while it lasts, and waits for its result as `RunHandle.result` does."""

    def watch(self, handle: RunHandle) -> SandboxResult:
        """Wait for a run's result."""

    async def awatch(self, handle: RunHandle) -> SandboxResult:
        """As `watch`, in an event loop."""


_watchers: list[Watcher] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watchers.clear)  # a kernel's child has no notebook to draw in


def set_watcher(watcher: Watcher | None) -> None:
    """Say who shows the runs of this process from now on; `None` for nobody.

    Args:
        watcher: Whoever shows them.
    """
    _watchers[:] = [] if watcher is None else [watcher]


def wait_for(handle: RunHandle) -> SandboxResult:
    """Wait for a run's result; shown, if runs are.

    Args:
        handle: The run.
    """
    return _watchers[0].watch(handle) if _watchers else handle.result()


async def await_for(handle: RunHandle) -> SandboxResult:
    """As `wait_for`, in an event loop."""
    return await (_watchers[0].awatch(handle) if _watchers else handle.aresult())
