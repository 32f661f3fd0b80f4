"""What all runs of a process share, on the portal's loop: connections to engines, and the places to boot."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import threading
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from langchain_sandbox.engine.address import EngineAddress
from langchain_sandbox.engine.dial import serve_dial
from langchain_sandbox.engine.docker import DockerEngine
from langchain_sandbox.engine.scratch import make_scratch
from langchain_sandbox.errors import SandboxUnavailableError
from langchain_sandbox.held_run import HeldRun
from langchain_sandbox.places import Places
from langchain_sandbox.pool import SparePool
from langchain_sandbox.preparation import find_means
from langchain_sandbox.run import Run
from langchain_sandbox.session_run import SessionRun
from langchain_sandbox.spare import build_want
from langchain_sandbox.stay import Stay
from langchain_sandbox.workspace.following import Following
from langchain_sandbox.workspace.inbound.selection import find_folder

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from langchain_sandbox.config import Limits
    from langchain_sandbox.event_log import EventLog
    from langchain_sandbox.pool_config import Pool
    from langchain_sandbox.request import RunRequest
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.workspace_config import Workspace

# Booting OpenCode takes seconds of a core; more at once only makes each of them slower.
_BOOTS = max(2, os.cpu_count() or 1)


class Shared:
    """One for each portal; get it with `get_shared`."""

    def __init__(self, portal: BlockingPortal) -> None:
        self.portal = portal
        self._engines: dict[EngineAddress, DockerEngine] = {}
        self._dials: list[asyncio.Task[None]] = []
        self._opening = anyio.Lock()
        self._places = Places(_BOOTS)
        self._under_way: dict[asyncio.Task[object], Run] = {}
        self._draining = False

    async def new_run(
        self,
        request: RunRequest,
        log: EventLog,
        address: EngineAddress,
        pool: SparePool | None = None,
        stay: Stay | None = None,
    ) -> Run:
        """A run on the engine at an address, ready to be executed.

        Args:
            request: What it is asked for.
            log: Where its events go.
            address: The engine's.
            pool: Has containers that are booted already.
            stay: The session that it belongs to.
        """
        engine = await self._find_engine(address)
        if stay is not None:
            return SessionRun(request, engine=engine, places=self._places, log=log, pool=pool, stay=stay)
        return Run(request, engine=engine, places=self._places, log=log, pool=pool)

    async def execute(self, run: Run) -> SandboxResult:
        """Execute a run; cancelled at once where no more are to begin.

        Args:
            run: As `new_run` has made it.

        Raises:
            SandboxConfigError: As by `Run.execute`.
            SandboxUnavailableError: As by `Run.execute`.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._under_way[task] = run
        try:
            if self._draining:
                run.cancel()
            return await run.execute()
        finally:
            del self._under_way[task]

    async def drain(self, *, grace: float) -> None:
        """Have all runs end and no more begin, until `refill`.

        Args:
            grace: Seconds that those which have begun may still take; then they are cancelled.
        """
        self._draining = True
        under_way = dict(self._under_way)
        for run in under_way.values():
            if not run.begun:
                run.cancel()
        if under_way and grace > 0:
            await asyncio.wait(under_way, timeout=grace)
        for task, run in under_way.items():
            if not task.done():
                run.cancel()

    async def refill(self) -> None:
        """Let runs begin again."""
        self._draining = False

    async def new_stay(self, workspace: Workspace | None, limits: Limits, idle: float) -> Stay:
        """A session's container and workspace, ready to be served."""
        return Stay(await anyio.to_thread.run_sync(Following, workspace, limits), idle=idle)

    async def new_pool(self, settings: Pool) -> SparePool:
        """A pool, ready to be served."""
        return SparePool(settings, places=self._places)

    async def warm(self, pool: SparePool, request: RunRequest, address: EngineAddress) -> None:
        """Fill a pool for tasks like one.

        Args:
            pool: The pool.
            request: The task.
            address: The engine's.

        Raises:
            SandboxConfigError: If such a task could not work.
            SandboxUnavailableError: If the engine, the image or the model is not there, or no spare comes up.
        """
        engine = await self._find_engine(address)
        means = await find_means(request, engine)
        if means.failure is not None:
            msg = f"Nothing can be warmed up: {means.failure.message}."
            raise SandboxUnavailableError(msg)
        folder = ""
        if request.workspace is not None:
            folder = await anyio.to_thread.run_sync(find_folder, request.workspace.path)
        await pool.warm(build_want(request, means, engine, folder=folder))

    async def new_held_run(self, request: RunRequest, log: EventLog, address: EngineAddress) -> HeldRun:
        """As `new_run`, for a container that is held for commands."""
        return HeldRun(request, engine=await self._find_engine(address), places=self._places, log=log)

    async def _find_engine(self, address: EngineAddress) -> DockerEngine:
        async with self._opening:
            engine = self._engines.get(address)
            if engine is None:
                local = await self._open_dial(address) if address.uses_ssh else address
                engine = self._engines[address] = DockerEngine(local)
        return engine

    async def _open_dial(self, address: EngineAddress) -> EngineAddress:
        folder = await anyio.to_thread.run_sync(make_scratch)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        path = str(folder / "engine.sock")
        listener = await anyio.create_unix_listener(path, mode=0o600)
        self._dials.append(asyncio.create_task(serve_dial(address.url, listener)))
        return EngineAddress(f"unix://{path}", origin=address.url)


_lock = threading.Lock()
_shared: Shared | None = None


def get_shared(portal: BlockingPortal) -> Shared:
    """The shared state of a portal; a forked child's portal has one of its own."""
    global _shared  # noqa: PLW0603 - one for each process is the point
    with _lock:
        if _shared is None or _shared.portal is not portal:
            _shared = portal.call(_make_shared, portal)
        return _shared


async def _make_shared(portal: BlockingPortal) -> Shared:
    return Shared(portal)


def _forget() -> None:
    """Another thread may have held the lock at the moment of the fork."""
    global _lock  # noqa: PLW0603 - as above
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
