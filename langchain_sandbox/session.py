"""Several tasks in one container and one conversation: `Sandbox.session`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from langchain_sandbox.applier import Applier
from langchain_sandbox.closing import Closing
from langchain_sandbox.errors import SandboxConfigError, SessionOverError
from langchain_sandbox.handle import begin
from langchain_sandbox.lease import Lease
from langchain_sandbox.shared import get_shared
from langchain_sandbox.watching import await_for, wait_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from anyio.from_thread import BlockingPortal

    from langchain_sandbox.commands.command import Command
    from langchain_sandbox.config import ChangesPolicy, Limits
    from langchain_sandbox.events import SandboxEvent
    from langchain_sandbox.handle import RunHandle
    from langchain_sandbox.request import SessionOptions
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.stay import Stay
    from langchain_sandbox.workspace_config import Workspace

DEFAULT_IDLE = 900.0
"""Seconds that a session waits for its next task, where nobody says otherwise."""


class Session(Applier, Closing):
    """One conversation with OpenCode, in one container, on one copy of the workspace; made by `Sandbox.session`.

    The container starts with the first task and is asleep between tasks. Before each task, what has changed in the
    workspace since the last one goes in; after it, what this task has changed comes out. Tasks wait for each other.
    All methods may be called from any thread and any event loop.

    When a task does not end well (it takes too long, it is cancelled, its model fails), the container is taken away
    and the session is over.

    Example:
        ```python
        with sandbox.session() as session:
            plan = session.run("How would you split module utils in two?")
            result = session.run("Do it.")
        sandbox.apply(result)
        ```
    """

    def __init__(
        self, start: Callable[..., RunHandle], *, workspace: Workspace | None, limits: Limits, idle: float
    ) -> None:
        self.workspace = workspace
        self.idle = idle
        self._start_run = start
        self._lease = Lease(partial(_make, workspace, limits, idle))

    def run(
        self,
        task: str | None = None,
        *,
        command: str | Command | None = None,
        arguments: str | Mapping[str, Any] | None = None,
        output: object = None,
        timeout: float | None = None,
        changes: ChangesPolicy | None = None,
    ) -> SandboxResult:
        """Run a task, or one of the repository's commands, after those that came before, and wait for its result.

        Args:
            task: As for `Sandbox.run`. OpenCode remembers the tasks before.
            command: As for `Sandbox.run`.
            arguments: As for `Sandbox.run`.
            output: As for `Sandbox.run`.
            timeout: As for `Sandbox.run`, for this task.
            changes: As for `Sandbox.run`. Whatever it is, the container keeps what the task has changed.

        Returns:
            How it ended and what came of it; the patch has what this task has changed.

        Raises:
            SandboxConfigError: If what is asked for cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
            SessionOverError: If the session is over; the message says why.
        """
        options: SessionOptions = {
            "command": command,
            "arguments": arguments,
            "output": output,
            "timeout": timeout,
            "changes": changes,
        }
        return wait_for(self.start(task, **options))

    async def arun(self, task: str | None = None, **options: Unpack[SessionOptions]) -> SandboxResult:
        """As `run`. Cancelling it ends the session and removes its container first."""
        return await await_for(await self.astart(task, **options))

    def stream(self, task: str | None = None, **options: Unpack[SessionOptions]) -> Iterator[SandboxEvent]:
        """Run a task and give its events as they happen; leaving the loop early cancels it, which ends the session.

        Args:
            task: As for `run`.
            **options: As for `run`.

        Raises:
            SandboxConfigError: If what is asked for cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
            SessionOverError: If the session is over; the message says why.
        """
        with self.start(task, **options) as handle:
            yield from handle.events()
            handle.result()

    async def astream(self, task: str | None = None, **options: Unpack[SessionOptions]) -> AsyncIterator[SandboxEvent]:
        """As `stream`, in an event loop."""
        async with await self.astart(task, **options) as handle:
            async for event in handle.aevents():
                yield event
            await handle.aresult()

    @property
    def over(self) -> bool:
        """Whether there can be no more tasks: it was closed, its container is gone, or nobody came for too long."""
        stay = self._lease.tenant
        return self._lease.closed or (stay is not None and stay.over)

    def start(self, task: str | None = None, **options: Unpack[SessionOptions]) -> RunHandle:
        """Begin a task and return at once; the handle waits, watches and cancels.

        Args:
            task: As for `run`.
            **options: As for `run`.

        Raises:
            SandboxConfigError: If what is asked for cannot work.
            SessionOverError: If the session was closed.
        """
        return self._start_run(task, stay=self._begin(), workspace=self.workspace, **options)

    async def astart(self, task: str | None = None, **options: Unpack[SessionOptions]) -> RunHandle:
        """As `start`, without blocking the event loop."""
        return await begin(partial(self.start, task, **options))

    def close(self) -> None:
        """End the session; its container is gone when this returns. There will be no more tasks."""
        self._lease.close()

    async def aclose(self) -> None:
        """As `close`."""
        await self._lease.aclose()

    def leave(self) -> None:
        """Have it end by itself as soon as no task is under way; it takes no others from now on. Waits for nothing."""
        self._lease.let_go()

    def __repr__(self) -> str:
        workspace = str(self.workspace.path) if self.workspace else None
        return f"Session(workspace={workspace!r}, idle={self.idle!r})"

    def _begin(self) -> Stay:
        if self._lease.closed:
            msg = "The session is closed; begin another one."
            raise SessionOverError(msg)
        if self._lease.inherited:
            msg = "This session belongs to the process that began it, and not to a child of it; begin one there."
            raise SandboxConfigError(msg)
        return self._lease.begin()


def _make(workspace: Workspace | None, limits: Limits, idle: float, portal: BlockingPortal) -> Stay:
    return portal.call(get_shared(portal).new_stay, workspace, limits, idle)
