"""The one background thread in which everything asynchronous of ours lives.

Links, model clients and the engine's connections belong to one event loop. A caller's loop may block, end, or not
exist at all; this one does not, so the same core serves scripts, threads, notebooks and graphs.
"""

from __future__ import annotations

import atexit
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

import anyio
from anyio.from_thread import BlockingPortal

if TYPE_CHECKING:
    from collections.abc import Callable

_CLOSE_LIMIT = 10.0

_lock = threading.Lock()
_portal: BlockingPortal | None = None
_thread: threading.Thread | None = None


def get_portal() -> BlockingPortal:
    """The portal of this process, started at first use."""
    global _portal, _thread  # noqa: PLW0603 - one for each process is the point
    with _lock:
        if _portal is None:
            # Not anyio's `start_blocking_portal`: that one is a generator, which a forked child would try to finish.
            started: Future[BlockingPortal] = Future()
            _thread = threading.Thread(target=anyio.run, args=(_serve, started), name="langchain-sandbox", daemon=True)
            _thread.start()
            _portal = started.result()
        return _portal


def call_soon(function: Callable[[], None]) -> None:
    """Have the portal's loop call something, from any thread: what runs on that loop itself may cancel runs too."""
    portal = get_portal()
    if _thread is not None and threading.get_ident() == _thread.ident:
        function()
    else:
        portal.start_task_soon(function)


async def _serve(started: Future[BlockingPortal]) -> None:
    async with BlockingPortal() as portal:
        started.set_result(portal)
        await portal.sleep_until_stopped()


def _close() -> None:
    """The process ends: cancel what still runs, and give it the time to remove its containers."""
    global _portal
    portal, _portal = _portal, None
    if portal is not None and _thread is not None:
        portal.start_task_soon(portal.stop, True)  # noqa: FBT003 - anyio takes it by position
        _thread.join(_CLOSE_LIMIT)


def _forget() -> None:
    """A forked child has no such thread; it starts one of its own if it needs one."""
    global _lock, _portal, _thread  # noqa: PLW0603 - as above
    _lock = threading.Lock()
    _portal = _thread = None


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
