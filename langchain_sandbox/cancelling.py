"""Tells a cancellation that is meant for us from one of something that we have waited for."""

from __future__ import annotations

import asyncio


def is_being_cancelled() -> bool:
    """Whether a `CancelledError` that arrives here is for this task; then it has to go on.

    Otherwise it came out of what was awaited, such as a callback of the user's that waited for something cancelled.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
