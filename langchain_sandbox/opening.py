"""How a run comes by its container: it waits for its turn, takes one that is booted already, or has one made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.base import ContainerSpec, Engine
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.live_container import LiveContainer
from langchain_sandbox.spare import build_want

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from langchain_sandbox.places import Places
    from langchain_sandbox.pool import SparePool
    from langchain_sandbox.preparation import Means
    from langchain_sandbox.request import RunRequest
    from langchain_sandbox.spare import Spare
    from langchain_sandbox.workspace.carriage import Carriage


class Opening:
    """Of one run.

    Args:
        request: What was asked for.
        engine: Where the container is made.
        places: Bounds how many containers boot at once in this process.
        pool: Has containers that are booted already.
    """

    def __init__(self, request: RunRequest, *, engine: Engine, places: Places, pool: SparePool | None) -> None:
        self._request = request
        self._engine = engine
        self._places = places
        self._pool = pool
        self._queued = 0.0
        self._roused: Spare | None = None
        # The container gets the folder itself, which has to be known when it is made.
        self._mounts = request.workspace is not None and request.workspace.mode == "bind"

    def task(self) -> AbstractContextManager[None]:
        """While the run is under way; in the end it has no place any more."""
        return self._places.task(self)

    async def approach(self) -> None:
        """Wait until few tasks are to begin before this one, at no cost.

        Raises:
            SandboxUnavailableError: If it was not time for too long.
        """
        began = time.monotonic()
        await self._places.approach(self, timeout=self._request.queue_timeout)
        self._queued = time.monotonic() - began

    def rouse(self) -> bool:
        """Have a spare woken that will probably be ours, while others find out what we need; whether there is one."""
        if self._pool is not None and not self._mounts:
            self._roused = self._pool.rouse(self._engine, self._request.limits, runtime=self._request.runtime)
        return self._roused is not None

    def calm(self) -> None:
        """Have it go to sleep again, if it is not ours."""
        roused, self._roused = self._roused, None
        if self._pool is not None and roused is not None:
            self._pool.calm(roused)

    async def take_spare(self, means: Means, folder: Callable[[], Awaitable[str]]) -> LiveContainer | None:
        """A container that is booted already, if there is one that fits.

        Args:
            means: What the run has to work with.
            folder: Says where the workspace will be.
        """
        if self._pool is None or self._mounts:
            return None
        spare = await self._pool.take(build_want(self._request, means, self._engine, folder=await folder()))
        if spare is None:
            return None
        self._places.pass_by(self)
        return spare.container

    async def boot(self, means: Means, workspace: Callable[[], Awaitable[Carriage]]) -> LiveContainer:
        """A container of its own. It may be made while the workspace is still read, and boots when that is over.

        Only who can start has a place: whoever reads a big workspace keeps nobody from booting.

        Args:
            means: What the run has to work with.
            workspace: Gives the workspace, once it is read.

        Raises:
            SandboxUnavailableError: If the engine refuses, or there was no place for too long.
        """
        ahead: LiveContainer | None = None
        with self._places.ahead() as there_is_room:
            if there_is_room and not self._mounts:
                ahead = await self._make(means, None)
            try:
                carriage = await workspace()
                await self._places.take(self, timeout=self._patience)
            except BaseException:
                if ahead is not None:
                    await ahead.take_away(parted=False)
                raise
        try:
            return ahead or await self._make(means, carriage)
        except BaseException:
            self.give_place()
            raise

    def give_place(self) -> None:
        """Booting is over."""
        self._places.give(self)

    @property
    def _patience(self) -> float | None:
        """Seconds that it may still wait for a place."""
        limit = self._request.queue_timeout
        return None if limit is None else max(0.0, limit - self._queued)

    async def _make(self, means: Means, carriage: Carriage | None) -> LiveContainer:
        request = self._request
        spec = ContainerSpec(
            name=f"langchain-sandbox-{request.run_id}",
            image=means.image,
            limits=request.limits,
            runtime=request.runtime,
            labels={labels.OWNER: await anyio.to_thread.run_sync(current_owner), labels.RUN: request.run_id},
            mounts=carriage.mounts if carriage is not None else (),
            user=carriage.user if carriage is not None else None,
        )
        return await LiveContainer.make(self._engine, spec)
