"""When the container ends at the latest, in case nobody else ends it."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline:
    """One thread from the start, and not one for each task: an agent may have left no room for another.

    Args:
        on_expire: Called in that thread when the time has come.
    """

    def __init__(self, on_expire: Callable[[], None]) -> None:
        self._on_expire = on_expire
        self._at = math.inf
        self._moved = threading.Condition()
        threading.Thread(target=self._wait, name="deadline", daemon=True).start()

    def move(self, seconds: float) -> None:
        """Have it come that many seconds from now."""
        with self._moved:
            self._at = time.monotonic() + seconds
            self._moved.notify_all()

    def _wait(self) -> None:
        while True:
            with self._moved:
                while (left := self._at - time.monotonic()) > 0:
                    self._moved.wait(min(left, threading.TIMEOUT_MAX))
                self._at = math.inf
            self._on_expire()
