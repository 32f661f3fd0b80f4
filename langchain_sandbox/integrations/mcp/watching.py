"""A run for as long as a request waits for it: its events become the request's progress, and it ends with it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from langchain_sandbox.activity import Activity, describe_event
from langchain_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from langchain_sandbox.handle import RunHandle
    from langchain_sandbox.integrations.mcp.peer import Peer
    from langchain_sandbox.integrations.mcp.runs import Runs
    from langchain_sandbox.result import SandboxResult


async def watch_run(handle: RunHandle, runs: Runs, peer: Peer) -> SandboxResult:
    """Wait for a run, and tell its client how it goes. If the wait is cancelled, the run is, and its container gone.

    Args:
        handle: The run.
        runs: Where it is taken in.
        peer: The client, which hears nothing if it has not asked for progress.

    Raises:
        SandboxConfigError: If what was asked for cannot work.
        SandboxUnavailableError: If the engine or the image is not there.
    """
    runs.begin(handle)
    try:
        await _tell(handle, peer)
    except BaseException:
        # Shielded from what has cancelled us: in anyio that would cancel every further wait as well.
        with anyio.CancelScope(shield=True), suppress(SandboxError):
            await handle.acancel()
            if handle.done:
                runs.keep(await handle.aresult())
        raise
    with anyio.CancelScope(shield=True):  # after the last event it takes a moment: the result is written down
        result = await handle.aresult()
        runs.keep(result)
    return result


async def _tell(handle: RunHandle, peer: Peer) -> None:
    activity = Activity()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(peer.keep_reporting, lambda: activity.now)
        async for event in handle.aevents():
            activity.update(event)
            line = describe_event(event)
            if line:
                await peer.report(line)
        tasks.cancel_scope.cancel()
