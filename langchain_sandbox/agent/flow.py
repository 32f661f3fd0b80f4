"""How much of one stream may be under way to the host, so that a slow one holds up no other."""

from __future__ import annotations

import threading

from langchain_sandbox.link import STREAM_WINDOW


class Flow:
    """One stream's window, for the thread that sends and the one that hears of what was taken."""

    def __init__(self) -> None:
        self._room = STREAM_WINDOW
        self._changed = threading.Condition()
        self._over = False

    def take(self, wanted: int) -> int:
        """Wait until something may be sent, and say how much of it may; nothing if nobody wants it any more.

        Args:
            wanted: Bytes that there are.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._room or self._over)
            size = 0 if self._over else min(wanted, self._room)
            self._room -= size
            return size

    def give(self, size: int) -> None:
        """So many bytes were taken out at the other end.

        Args:
            size: Bytes.
        """
        with self._changed:
            self._room += size
            self._changed.notify_all()

    def close(self) -> None:
        """Have nobody wait any more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
