"""The spares of one sandbox: booted ahead, handed out once, replaced in the background."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from langchain_sandbox.demand import Demand
from langchain_sandbox.errors import SandboxError, SandboxUnavailableError
from langchain_sandbox.spare import Spare, Want

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from langchain_sandbox.config import Limits
    from langchain_sandbox.engine.base import Engine
    from langchain_sandbox.live_container import LiveContainer
    from langchain_sandbox.places import Places
    from langchain_sandbox.pool_config import Pool

_PATIENCE = 3.0  # for tasks that are under way to end, before a boot takes time of a core from them
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A spare that nobody has come for."""

    want: Want
    spare: Spare
    since: float = field(default_factory=time.monotonic)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Ends the watch over it."""
    roused: bool = False
    """Whether it is being woken, since somebody will probably come for it."""


class SparePool:
    """Lives on the portal's loop for as long as `serve` runs.

    Args:
        settings: How many, and for how long.
        places: Where it asks before it boots one.
    """

    def __init__(self, settings: Pool, *, places: Places) -> None:
        self._settings = settings
        self._places = places
        self._demand: Demand[Want] = Demand(settings)
        self._waiting: list[_Waiting] = []
        self._booting: list[Want] = []
        self._changed = anyio.Event()
        self._news = anyio.Event()
        self._pause = _FIRST_PAUSE
        self._resting_until = 0.0
        self._hurrying = 0
        self._failures: dict[Want, SandboxError] = {}
        self._scope = anyio.CancelScope()
        self._tasks: TaskGroup | None = None
        self._over = anyio.Event()

    async def serve(self) -> None:
        """Have as many spares as are wanted, and none for longer than they may wait, until `close` or cancelled."""
        try:
            with self._scope:
                await self._keep()
        except Exception:
            logger.exception("The pool is broken; until it is begun again, tasks boot containers of their own.")
        finally:
            self._tasks = None
            left, self._waiting = self._waiting, []  # nobody may take one that is on its way out
            try:
                with anyio.CancelScope(shield=True):
                    async with anyio.create_task_group() as leaving:
                        for waiting in left:
                            leaving.start_soon(waiting.spare.aclose)
            finally:
                self._over.set()
                self._tell()

    async def _keep(self) -> None:
        async with anyio.create_task_group() as self._tasks:
            while True:
                with anyio.move_on_after(self._next_moment()):
                    await self._changed.wait()
                self._changed = anyio.Event()
                await self._dismiss()
                self._refill(self._tasks)
                self._tell()

    async def aclose(self) -> None:
        """Take all spares away; returns when they are gone, and those too that tasks have used."""
        self.leave()
        await self._over.wait()

    def leave(self) -> None:
        """As `aclose`, without waiting for it."""
        self._scope.cancel()

    def rouse(self, engine: Engine, limits: Limits, *, runtime: str | None) -> Spare | None:
        """Wake the spare that a task will probably need, while it is still being found out which one it needs.

        Args:
            engine: Where the task's container is to be.
            limits: The task's.
            runtime: The task's.

        Returns:
            It; `calm` puts it back to sleep if nobody has taken it.
        """
        for waiting in reversed(self._waiting):
            kind = waiting.want.kind
            alike = waiting.want.engine is engine and kind.limits == limits and kind.runtime == runtime
            if alike and not waiting.roused:
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
        self._demand.note(want)
        self._changed.set()
        while (waiting := self._find(want)) is not None:
            self._let_go(waiting)
            well = False
            try:
                well = await waiting.spare.wake()
            finally:
                if not well:  # nor is it anybody's if the task is cancelled meanwhile
                    await self._leave(waiting.spare)
            if well:
                self._pause = _FIRST_PAUSE
                return waiting.spare
            logger.info("%s did not wake up", waiting.spare.container.name)
        return None

    async def warm(self, want: Want) -> None:
        """Fill the pool, and wait until it is full, or as full as its memory allows.

        Args:
            want: What for.

        Raises:
            SandboxUnavailableError: If a spare cannot be booted, or the pool is closed.
        """
        self._demand.fill(want)
        self._failures.pop(want, None)
        self._resting_until = 0.0
        self._hurrying += 1
        self._changed.set()
        try:
            while self._lacks(want):
                await self._news.wait()
        finally:
            self._hurrying -= 1

    def count(self, want: Want) -> int:
        """How many spares are ready for such a task."""
        return sum(waiting.want == want for waiting in self._waiting)

    async def remove(self, container: LiveContainer) -> None:
        """Take a container away that has done its task, in the background; `aclose` waits for it.

        Args:
            container: It has said all that it had to say.
        """
        if self._tasks is not None:
            self._tasks.start_soon(_remove, container)
        else:
            await _remove(container)

    def _lacks(self, want: Want) -> bool:
        """Whether a spare is still to be waited for."""
        if self._over.is_set():
            msg = "The pool was closed before it was full."
            raise SandboxUnavailableError(msg)
        failure = self._failures.get(want)
        if failure is not None:
            raise failure
        if self.count(want) >= self._demand.count(want):
            return False
        return bool(self._booting or self._find_missing() or self._demand.find_surplus(self._kinds()))

    def _kinds(self) -> list[Want]:
        return [waiting.want for waiting in self._waiting]

    def _find(self, want: Want) -> _Waiting | None:
        """One that is awake already, else the youngest: the older ones go by themselves if nobody needs them."""
        found = [waiting for waiting in reversed(self._waiting) if waiting.want == want]
        return next((waiting for waiting in found if waiting.roused), found[0] if found else None)

    def _find_missing(self) -> list[Want]:
        told = [waiting.spare.memory for waiting in self._waiting if waiting.spare.memory]
        return self._demand.find_missing([*self._kinds(), *self._booting], memory=max(told, default=None))

    def _next_moment(self) -> float:
        """Seconds until something is to be done, if nothing happens before."""
        moments = [waiting.since + self._settings.idle for waiting in self._waiting]
        now = time.monotonic()
        if self._resting_until > now:
            moments.append(self._resting_until)
        return max(0.0, min(moments, default=math.inf) - now)

    async def _dismiss(self) -> None:
        """Let go of those that have waited too long, and of those that nobody wants any more."""
        oldest = time.monotonic() - self._settings.idle
        for waiting in [each for each in self._waiting if each.since <= oldest]:
            self._demand.drop(waiting.want)  # nobody came for it, so nobody needs another
            self._let_go(waiting)
            await self._leave(waiting.spare)
        for want in self._demand.find_surplus(self._kinds()):
            waiting = next(each for each in self._waiting if each.want == want)
            self._let_go(waiting)
            await self._leave(waiting.spare)

    def _refill(self, tasks: TaskGroup) -> None:
        if time.monotonic() < self._resting_until:
            return
        for want in self._find_missing():
            self._booting.append(want)
            tasks.start_soon(self._boot, want)

    async def _boot(self, want: Want) -> None:
        place = object()
        try:
            if not self._hurrying:
                await self._places.quiet(patience=_PATIENCE)
            await self._places.take_ahead(place)
            spare = await Spare.boot(want.engine, want.kind, is_quiet=self._places.is_quiet)
            waiting = _Waiting(want, spare)
            self._waiting.append(waiting)
        except SandboxError as error:
            logger.warning("%s", error)
            self._failures[want] = error
            self._rest()
            return
        finally:
            self._places.give(place)
            self._booting.remove(want)
            self._changed.set()
        await self._watch(waiting)

    async def _watch(self, waiting: _Waiting) -> None:
        """Let go of a spare that ends while nobody uses it, as when its engine is stopped."""
        with waiting.scope:
            await waiting.spare.lost()
        if waiting in self._waiting:
            logger.info("%s is lost", waiting.spare.container.name)
            self._let_go(waiting)
            await self._leave(waiting.spare)
            self._rest()

    def _rest(self) -> None:
        """Boot none for a while: what went wrong may go wrong again."""
        self._resting_until = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._changed.set()

    def _let_go(self, waiting: _Waiting) -> None:
        self._waiting.remove(waiting)
        waiting.scope.cancel()

    async def _leave(self, spare: Spare) -> None:
        """Take it away; in the background, while there is one."""
        if self._tasks is not None:
            self._tasks.start_soon(spare.aclose)
        else:
            await spare.aclose()

    def _tell(self) -> None:
        """Have those who wait for spares look again."""
        self._news.set()
        self._news = anyio.Event()


async def _remove(container: LiveContainer) -> None:
    if not await container.take_away(parted=True):
        logger.warning("the engine did not confirm that %s is gone", container.name)
