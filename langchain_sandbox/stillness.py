"""How long nothing has happened in a task while nothing was under way that takes its time. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Stillness:
    """Begins to count now.

    Args:
        clock: Seconds since whenever.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()

    def stir(self) -> None:
        """Something has happened."""
        self._since = self._clock()

    def seconds(self, *, busy: bool) -> float:
        """How long it has been still.

        Args:
            busy: Whether something is under way, so that it is not still now, be it as quiet as it may.
        """
        if busy:
            self.stir()
        return self._clock() - self._since
