"""Who may prepare for a container now, and who may boot one, in this whole process: bounded by cores and by memory."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from langchain_sandbox.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEED = 640 * 1024 * 1024
"""Bytes that a container with OpenCode in it takes, and what is to be left for its commands; see docs/benchmarks.md."""
_NEXT = 2  # tasks that are ready to boot as soon as others have booted
_LOOK_AGAIN = 1.0  # seconds; nobody says when another program gives memory back
_MEMORY = "/proc/meminfo"


def read_free_memory() -> int | None:
    """Bytes that this machine could give to new programs, as its kernel says; `None` where there is no such kernel."""
    try:
        with open(_MEMORY, encoding="ascii") as file:  # noqa: PTH123 - read often
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


@dataclass(slots=True, eq=False)
class _Turn:
    """Somebody who waits for a place."""

    who: object
    come: anyio.Event = field(default_factory=anyio.Event)


class Places:
    """Bounds how many containers boot at once. For one event loop.

    Those who wait are let in as they came. Few of them prepare, which is to read a workspace, to ask the model server
    and the engine, and maybe to have a container made; however many there are, the others have done nothing yet.

    Tasks come before those who boot ahead of need, and find a place free that those never take. Where the machine has
    no memory left for one more, they wait until it has; but one task is always let in.

    Args:
        count: How many.
        free_memory: Says how many bytes are left; `None` where nobody knows.
    """

    def __init__(self, count: int, *, free_memory: Callable[[], int | None] = read_free_memory) -> None:
        self._count = count
        self._free_memory = free_memory
        self._inside: set[object] = set()
        self._taken: set[object] = set()
        self._near: set[object] = set()
        self._far: deque[_Turn] = deque()
        self._waiting: deque[_Turn] = deque()
        self._ahead: deque[_Turn] = deque()
        self._tasks = 0
        self._made_ahead = 0
        self._quiet = anyio.Event()
        self._quiet.set()

    async def approach(self, who: object, *, timeout: float | None) -> None:  # noqa: ASYNC109 - told in the message
        """Wait until it is time to prepare for a place; over when the place is taken, or with `task`.

        Args:
            who: As for `take`.
            timeout: Seconds to wait at most.

        Raises:
            SandboxUnavailableError: If it was not time for so long.
        """
        turn = _Turn(who)
        self._far.append(turn)
        self._call_near()
        with anyio.move_on_after(timeout) as clock:
            try:
                await turn.come.wait()
            finally:
                if not turn.come.is_set():
                    self._far.remove(turn)
        if clock.cancelled_caught:
            msg = f"Other tasks came first, and this one's turn did not come within {timeout:g} s (queue_timeout)."
            raise SandboxUnavailableError(msg)

    def pass_by(self, who: object) -> None:
        """Somebody needs no place any more; nothing if it has one, or was never near."""
        self._near.discard(who)
        self._call_near()

    async def take(self, who: object, *, timeout: float | None) -> None:  # noqa: ASYNC109 - told in the message
        """Wait for a place.

        Args:
            who: Gives it back with `give`.
            timeout: Seconds to wait at most.

        Raises:
            SandboxUnavailableError: If there was none for so long.
        """
        with anyio.move_on_after(timeout) as clock:
            await self._wait(who, self._waiting)
        if clock.cancelled_caught:
            reason = (
                f"{self._count} sandboxes are booting already, and none was done"
                if len(self._taken) >= self._count
                else f"This machine has no {NEED >> 20} MiB of memory left for one more sandbox, and got none"
            )
            msg = f"{reason} within {timeout:g} s (queue_timeout)."
            raise SandboxUnavailableError(msg)

    async def take_ahead(self, who: object) -> None:
        """Wait for a place to boot what no task waits for; one place is always left to a task.

        Args:
            who: Gives it back with `give`.
        """
        await self._wait(who, self._ahead)

    def give(self, who: object) -> None:
        """Give a place back; nothing if it was given back before."""
        self._taken.discard(who)
        self._call_next()

    @contextmanager
    def ahead(self) -> Iterator[bool]:
        """While a container is made that will start later; whether there are few enough of those for one more."""
        room = self._made_ahead < self._count
        self._made_ahead += room
        try:
            yield room
        finally:
            self._made_ahead -= room

    @contextmanager
    def task(self, who: object) -> Iterator[None]:
        """While somebody's task is under way, those who boot ahead of need had better wait.

        Args:
            who: As for `take`; its place is given back in the end, if it still has one.
        """
        self._tasks += 1
        if self._quiet.is_set():
            self._quiet = anyio.Event()
        try:
            yield
        finally:
            self._inside.discard(who)
            self.give(who)
            self.pass_by(who)
            self._tasks -= 1
            if not self._tasks:
                self._quiet.set()

    def is_quiet(self) -> bool:
        """Whether no task is under way."""
        return not self._tasks

    async def quiet(self, *, patience: float) -> None:
        """Wait until no task is under way.

        Args:
            patience: Seconds to wait at most: a task may take minutes, most of them waiting for its model.
        """
        with anyio.move_on_after(patience):
            while not self.is_quiet():
                await self._quiet.wait()

    async def _wait(self, who: object, queue: deque[_Turn]) -> None:
        turn = _Turn(who)
        queue.append(turn)
        self._call_next()
        try:
            while not turn.come.is_set():
                with anyio.move_on_after(_LOOK_AGAIN):
                    await turn.come.wait()
                self._call_next()
        except BaseException:
            if turn in queue:
                queue.remove(turn)
            else:
                self.give(who)  # it came at the same moment
            raise

    def _call_near(self) -> None:
        """Have those prepare whose time has come."""
        while self._far and len(self._near) < self._count + _NEXT:
            turn = self._far.popleft()
            self._near.add(turn.who)
            turn.come.set()

    def _call_next(self) -> None:
        """Let in whoever may come in now."""
        while self._waiting and len(self._taken) < self._count and (self._is_alone() or self._has_memory()):
            self._inside.add(self._waiting[0].who)
            self._let_in(self._waiting.popleft())
        # Behind a task that waits there is nothing free; otherwise the last place is for the next task.
        while self._ahead and not self._waiting and self._has_memory() and len(self._taken) < max(1, self._count - 1):
            self._let_in(self._ahead.popleft())

    def _is_alone(self) -> bool:
        """Whether nobody is inside, so that no memory will come free by waiting."""
        return not self._inside and not self._taken

    def _has_memory(self) -> bool:
        """Whether there is memory for one more; those who are booting have not taken all of theirs yet."""
        free = self._free_memory()
        return free is None or free >= (len(self._taken) + 1) * NEED

    def _let_in(self, turn: _Turn) -> None:
        self._taken.add(turn.who)
        turn.come.set()
        self.pass_by(turn.who)
