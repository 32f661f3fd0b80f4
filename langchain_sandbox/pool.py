"""The spares of one sandbox: booted ahead, handed out once, replaced in the background."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from langchain_sandbox.errors import SandboxError, SandboxUnavailableError
from langchain_sandbox.spare import Spare, SpareKind

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from langchain_sandbox.config import Limits
    from langchain_sandbox.engine.base import Engine
    from langchain_sandbox.live_container import LiveContainer
    from langchain_sandbox.places import Places
    from langchain_sandbox.pool_config import Pool
    from langchain_sandbox.preparation import Means
    from langchain_sandbox.request import RunRequest

_PATIENCE = 3.0  # for tasks that are under way to end, before a boot takes time of a core from them
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_USUAL_MEMORY = 512 * 1024 * 1024  # what a spare is counted as before one has told

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Want:
    """What a spare is of use for."""

    engine: Engine
    kind: SpareKind


def build_want(request: RunRequest, means: Means, engine: Engine, *, folder: str) -> Want:
    """What a spare must be like to be of use for a task. Pure.

    Args:
        request: What the task was asked for.
        means: What there is for it; its model can be had.
        engine: Where the container is to be.
        folder: Where the workspace's files belong in their repository.
    """
    assert means.source is not None, "a spare needs a model"  # noqa: S101 - a mistake of ours, not of a caller
    source = means.source
    kind = SpareKind(
        image=means.image, limits=request.limits, context=source.context, output=source.output, folder=folder
    )
    return Want(engine, kind)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A spare that nobody has come for."""

    want: Want
    spare: Spare
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Ends the watch over it."""
    roused: bool = False
    """Whether it is being woken, since somebody will probably come for it."""


class SparePool:
    """Lives on the portal's loop for as long as `serve` runs.

    What the latest tasks were of is what spares are kept for: as many tasks are remembered as there may be spares, and
    one spare is kept for each.

    Args:
        settings: How many, and for how long.
        places: Where it asks before it boots one.
    """

    def __init__(self, settings: Pool, *, places: Places) -> None:
        self._settings = settings
        self._places = places
        self._wanted: deque[Want] = deque(maxlen=settings.size)
        self._waiting: list[_Waiting] = []
        self._booting: list[Want] = []
        self._changed = anyio.Event()
        self._news = anyio.Event()
        self._pause = _FIRST_PAUSE
        self._resting_until = 0.0
        self._hurry = False
        self._failure: SandboxError | None = None
        self._scope = anyio.CancelScope()
        self._tasks: TaskGroup | None = None
        self._over = anyio.Event()

    async def serve(self) -> None:
        """Have as many spares as are wanted, and none for longer than they may wait, until `close` or cancelled."""
        try:
            with self._scope:
                await self._keep()
        finally:
            self._tasks = None
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as leaving:
                    for waiting in self._waiting:
                        leaving.start_soon(waiting.spare.aclose)
            self._waiting.clear()
            self._over.set()
            self._tell()

    async def _keep(self) -> None:
        async with anyio.create_task_group() as self._tasks:
            while True:
                with anyio.move_on_after(self._next_moment()):
                    await self._changed.wait()
                self._changed = anyio.Event()
                self._dismiss()
                self._refill(self._tasks)

    async def aclose(self) -> None:
        """Take all spares away; returns when they are gone, and those too that tasks have used."""
        self.close_soon()
        await self._over.wait()

    def close_soon(self) -> None:
        """As `aclose`, without waiting for it."""
        self._scope.cancel()

    def rouse(self, engine: Engine, limits: Limits) -> Spare | None:
        """Wake the spare that a task will probably need, while it is still being found out which one it needs.

        Args:
            engine: Where the task's container is to be.
            limits: The task's.

        Returns:
            It; `calm` puts it back to sleep if nobody has taken it.
        """
        for waiting in reversed(self._waiting):
            if waiting.want.engine is engine and waiting.want.kind.limits == limits and not waiting.roused:
                waiting.roused = True
                waiting.spare.rouse()
                return waiting.spare
        return None

    def calm(self, spare: Spare) -> None:
        """Put a roused spare back to sleep, if it is still here."""
        for waiting in self._waiting:
            if waiting.spare is spare:
                waiting.roused = False
                spare.calm()

    async def take(self, want: Want) -> Spare | None:
        """A spare that is well and now the caller's own; `None` if there is none. Others like it are booted later.

        Args:
            want: What the task needs.
        """
        self._wanted.append(want)
        self._changed.set()
        while (waiting := self._find(want)) is not None:
            self._waiting.remove(waiting)
            waiting.scope.cancel()
            if await waiting.spare.wake():
                return waiting.spare
            logger.info("%s did not wake up", waiting.spare.container.name)
            self._leave(waiting.spare)
        return None

    async def warm(self, want: Want) -> None:
        """Fill the pool, and wait until it is full, or as full as its memory allows.

        Args:
            want: What for.

        Raises:
            SandboxUnavailableError: If a spare cannot be booted.
        """
        self._wanted.extend([want] * self._settings.size)
        self._failure = None
        self._resting_until = 0.0
        self._hurry = True
        self._changed.set()
        while self._tasks is not None and self._failure is None and self._lacks(want):
            self._news = anyio.Event()
            await self._news.wait()
        self._hurry = False
        if self._failure is not None:
            raise self._failure

    def count(self, want: Want) -> int:
        """How many spares are ready for such a task."""
        return sum(waiting.want == want for waiting in self._waiting)

    async def remove(self, container: LiveContainer) -> None:
        """Take a container away that has done its task, in the background; `aclose` waits for it.

        Args:
            container: Told to end already.
        """
        if self._tasks is not None:
            self._tasks.start_soon(_remove, container)
        else:
            await _remove(container)

    def _lacks(self, want: Want) -> bool:
        there = self.count(want)
        return there < self._wanted.count(want) and (want in self._booting or self._has_room())

    def _find(self, want: Want) -> _Waiting | None:
        """One that is awake already, else the youngest: the older ones go by themselves if nobody needs them."""
        found = [waiting for waiting in reversed(self._waiting) if waiting.want == want]
        return next((waiting for waiting in found if waiting.roused), found[0] if found else None)

    def _next_moment(self) -> float:
        """Seconds until something is to be done, if nothing happens before."""
        moments = [waiting.spare.born + self._settings.idle for waiting in self._waiting]
        now = time.monotonic()
        if self._resting_until > now:
            moments.append(self._resting_until)
        return max(0.0, min(moments, default=math.inf) - now)

    def _dismiss(self) -> None:
        """Let go of those that have waited too long, and of those that nobody wants any more."""
        oldest = time.monotonic() - self._settings.idle
        for waiting in list(self._waiting):
            expired = waiting.spare.born <= oldest
            if expired and waiting.want in self._wanted:
                self._wanted.remove(waiting.want)  # nobody came for it, so nobody needs another
            if expired or self.count(waiting.want) > self._wanted.count(waiting.want):
                self._waiting.remove(waiting)
                waiting.scope.cancel()
                self._leave(waiting.spare)

    def _refill(self, tasks: TaskGroup) -> None:
        if time.monotonic() < self._resting_until:
            return
        for want in dict.fromkeys(reversed(self._wanted)):
            while self.count(want) + self._booting.count(want) < self._wanted.count(want) and self._has_room():
                self._booting.append(want)
                tasks.start_soon(self._boot, want)

    def _has_room(self) -> bool:
        """Whether one more spare fits the memory that all of them may take."""
        told = [waiting.spare.memory for waiting in self._waiting if waiting.spare.memory]
        each = max(told, default=_USUAL_MEMORY)
        return (len(self._waiting) + len(self._booting) + 1) * each <= self._settings.memory_limit

    async def _boot(self, want: Want) -> None:
        place = object()
        try:
            if not self._hurry:
                await self._places.quiet(patience=_PATIENCE)
            await self._places.take(place, timeout=None)
            spare = await Spare.boot(want.engine, want.kind)
        except SandboxUnavailableError as error:
            logger.warning("%s", error)
            self._failure = error
            self._rest()
            return
        finally:
            self._places.give(place)
            self._booting.remove(want)
            self._changed.set()
        self._pause = _FIRST_PAUSE
        waiting = _Waiting(want, spare)
        self._waiting.append(waiting)
        self._tell()
        await self._watch(waiting)

    async def _watch(self, waiting: _Waiting) -> None:
        """Let go of a spare that ends while nobody uses it, as when its engine is stopped."""
        with waiting.scope:
            await waiting.spare.lost()
        if waiting in self._waiting:
            logger.info("%s is lost", waiting.spare.container.name)
            self._waiting.remove(waiting)
            self._leave(waiting.spare)
            self._rest()

    def _rest(self) -> None:
        """Boot none for a while: what went wrong may go wrong again."""
        self._resting_until = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._changed.set()
        self._tell()

    def _leave(self, spare: Spare) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(spare.aclose)

    def _tell(self) -> None:
        self._news.set()


async def _remove(container: LiveContainer) -> None:
    if not await container.take_away(parted=True):
        logger.warning("the engine did not confirm that %s is gone", container.name)
