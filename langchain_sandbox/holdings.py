"""What a sandbox holds between its runs: its pool's containers, and the sessions of graphs' threads."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from langchain_sandbox.closing import Closing
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.pool_config import Pool
from langchain_sandbox.pool_handle import PoolHandle
from langchain_sandbox.portal import get_portal
from langchain_sandbox.shared import get_shared
from langchain_sandbox.thread_sessions import ThreadSessions

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from concurrent.futures import Future

    from langchain_sandbox.request import RunRequest
    from langchain_sandbox.session import Session
    from langchain_sandbox.workspace_config import Workspace

_WARM_UP = "Warm up."


class Holdings(Closing):
    """The part of a sandbox that has to be closed, and that neither pickling nor copying takes along.

    Args:
        pool: As for `Sandbox`.
        environ: Where the pool is looked for if it is not given.

    Raises:
        SandboxConfigError: If there can be no such pool.
    """

    def __init__(self, pool: Pool | Holdings | int | None, environ: Mapping[str, str]) -> None:
        self._borrows = isinstance(pool, Holdings)
        self.pool: Pool | None
        self._pool: PoolHandle | None
        if isinstance(pool, Holdings):
            self.pool, self._pool = pool.pool, pool._pool  # noqa: SLF001 - our own
        else:
            self.pool = Pool.of(pool, environ)
            self._pool = PoolHandle(self.pool) if self.pool is not None else None

    @property
    def threads(self) -> ThreadSessions:
        """The sessions of graphs' threads, for tools and nodes that have `session_ttl`."""
        # Made by whoever comes first; that is one step of the interpreter's.
        return self.__dict__.setdefault("_threads", ThreadSessions(self._begin_session))  # type: ignore[no-any-return]

    def warm(self, *, workspace: Workspace | str | os.PathLike[str] | None = None) -> None:
        """Boot the pool's containers, and wait until they are ready; nothing where there is no pool.

        Without it, the pool is filled after the first task, for tasks like that one.

        Args:
            workspace: As for `run`. Its contents do not matter: one spare serves any repository.

        Raises:
            SandboxConfigError: If such tasks could not work.
            SandboxUnavailableError: If the engine, the image or the model is not there, or no container comes up.

        Example:
            ```python
            with Sandbox(workspace="path/to/repository", pool=2) as sandbox:
                sandbox.warm()
                result = sandbox.run("Fix the failing test.")
            ```
        """
        warming = self._begin_warming(workspace)
        if warming is None:
            return
        try:
            warming.result()
        except BaseException:
            warming.cancel()
            raise

    async def awarm(self, *, workspace: Workspace | str | os.PathLike[str] | None = None) -> None:
        """As `warm`."""
        warming = await asyncio.to_thread(self._begin_warming, workspace)
        if warming is not None:
            await asyncio.wrap_future(warming)

    def close(self) -> None:
        """Take the pool's containers away, and those of graphs' threads (`session_ttl`), and wait until they are gone.

        Runs that are under way go on, but for threads', and later ones boot containers of their own.
        """
        try:
            self.threads.close()
        finally:
            if self._pool is not None and not self._borrows:
                self._pool.close()

    async def aclose(self) -> None:
        """As `close`."""
        try:
            await self.threads.aclose()
        finally:
            if self._pool is not None and not self._borrows:
                await self._pool.aclose()

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied: the options, and none of the containers."""
        return {name: value for name, value in self.__dict__.items() if name not in {"_pool", "_threads"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pool = PoolHandle(self.pool) if self.pool is not None else None
        self._borrows = False

    @abstractmethod
    def _build_request(self, task: str | None, *, workspace: Any = None) -> RunRequest:  # noqa: ANN401 - as for `warm`
        """What a run is asked for."""

    @abstractmethod
    def _begin_session(self, chosen: Workspace | None, idle: float) -> Session:
        """A session of a thread."""

    def _begin_warming(self, workspace: Workspace | str | os.PathLike[str] | None) -> Future[None] | None:
        if self._pool is None:
            return None
        pool = self._pool.begin()
        request = self._build_request(_WARM_UP, workspace=workspace)
        if pool is None or (request.workspace is not None and request.workspace.mode == "bind"):
            msg = "There is nothing to warm up: " + (
                "the sandbox is closed." if pool is None else 'with Workspace(mode="bind") no task takes a spare.'
            )
            raise SandboxConfigError(msg)
        portal = get_portal()
        return portal.start_task_soon(get_shared(portal).warm, pool, request, find_engine())
