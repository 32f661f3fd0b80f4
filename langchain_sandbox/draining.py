"""SIGTERM, as a request that the runs of this process end in good order."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.portal import get_portal
from langchain_sandbox.shared import get_shared

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def drain_on_sigterm(*, grace: float = 0.0) -> Iterator[threading.Event]:
    """In the block, have SIGTERM end all runs of this process, and not the process.

    No more runs begin. Those that have begun end as `cancelled`, with what they have changed until then; those that
    wait for their turn end as `cancelled` too, and their `ending.code` is `not_begun`. Whoever waits for them gets
    these results within seconds, so that the program can keep them and end. A second SIGTERM does what it would have
    done without this.

    Args:
        grace: Seconds that runs which have begun may still take, to end by themselves.

    Returns:
        An event that is set when the signal has come, for programs that would go on to other tasks.

    Raises:
        SandboxConfigError: If this is not the main thread, where alone Python lets signals be handled.

    Example:
        ```python
        with drain_on_sigterm(grace=60) as asked:
            for index, result in sandbox.batch_as_completed(tasks):
                save(index, result)
        sys.exit(143 if asked.is_set() else 0)
        ```
    """
    if threading.current_thread() is not threading.main_thread():
        msg = "drain_on_sigterm is for the main thread: Python handles signals nowhere else."
        raise SandboxConfigError(msg)
    asked = threading.Event()
    reading, writing = os.pipe()
    # In a thread: what is interrupted by the signal may hold any lock, so the handler itself does next to nothing.
    waiting = threading.Thread(target=_wait, args=(reading, asked, grace), name="langchain-sandbox-drain", daemon=True)
    before = signal.getsignal(signal.SIGTERM)
    usual = signal.SIG_DFL if before is None else before  # None: it was not Python that has set it
    shared, process = get_shared(get_portal()), os.getpid()

    def on_signal(*_: object) -> None:
        signal.signal(signal.SIGTERM, usual)
        if os.getpid() == process:
            os.write(writing, b"!")
        else:  # of a forked child, which has inherited this, and has runs of its own at most
            os.kill(os.getpid(), signal.SIGTERM)

    waiting.start()
    signal.signal(signal.SIGTERM, on_signal)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, usual)
        os.close(writing)
        waiting.join()
        if asked.is_set():
            shared.portal.call(shared.refill)


def _wait(reading: int, asked: threading.Event, grace: float) -> None:
    """Wait for the signal, or for the end of the block."""
    try:
        came = os.read(reading, 1)
    finally:
        os.close(reading)
    if came:
        asked.set()
        shared = get_shared(get_portal())
        shared.portal.start_task_soon(partial(shared.drain, grace=grace))
