"""What spares are kept for, decided from what the latest tasks were. Pure: no clock, no engine."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Generic, TypeVar

from langchain_sandbox.pool_config import MIN_MEMORY

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from langchain_sandbox.pool_config import Pool

K = TypeVar("K", bound="Hashable")


class Demand(Generic[K]):
    """As many tasks are remembered as there may be spares, and one spare is kept for each.

    So the pool follows what is asked for: where all tasks are of one kind, all spares are; where two kinds take turns,
    it holds some of both.

    Args:
        settings: How many spares there may be, and how much memory they may take.
    """

    def __init__(self, settings: Pool) -> None:
        self._settings = settings
        self._latest: deque[K] = deque(maxlen=settings.size)

    def note(self, kind: K) -> None:
        """A task of some kind has come."""
        self._latest.append(kind)

    def fill(self, kind: K) -> None:
        """Only tasks of this kind are expected."""
        self._latest.extend([kind] * self._settings.size)

    def drop(self, kind: K) -> None:
        """A spare of this kind has waited in vain: one fewer is wanted."""
        if kind in self._latest:
            self._latest.remove(kind)

    def count(self, kind: K) -> int:
        """How many spares of this kind are wanted."""
        return self._latest.count(kind)

    def find_surplus(self, ready: Iterable[K]) -> list[K]:
        """Which of the spares that are ready nobody wants any more, one entry for each.

        Args:
            ready: Their kinds.
        """
        return list((Counter(ready) - Counter(self._latest)).elements())

    def find_missing(self, there: Iterable[K], *, memory: int | None = None) -> list[K]:
        """Which ones to boot, one entry for each, what was asked for last before the rest.

        Args:
            there: The kinds of those that are ready or on their way.
            memory: Bytes that one of them takes; `None` if that is not known yet.
        """
        counted = Counter(there)
        missing = Counter(self._latest) - counted
        room = int(min(self._settings.size, self._settings.memory_limit / (memory or MIN_MEMORY)))
        wanted = [kind for kind in dict.fromkeys(reversed(self._latest)) for _ in range(missing[kind])]
        return wanted[: max(0, room - counted.total())]
