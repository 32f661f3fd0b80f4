"""A hardened container that is held open for commands, with a copy of the workspace in it."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_sandbox.applier import Applier
from langchain_sandbox.closing import Closing
from langchain_sandbox.commands.prompt import Prompt
from langchain_sandbox.config import ChangesPolicy, Limits, choose_runtime, may_ignore_limits
from langchain_sandbox.egress_config import Egress
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.errors import SandboxConfigError, SandboxError
from langchain_sandbox.event_log import EventLog
from langchain_sandbox.handle import RunHandle
from langchain_sandbox.orders import build_order
from langchain_sandbox.portal import get_portal
from langchain_sandbox.report import REPOSITORY
from langchain_sandbox.request import RunRequest, check_timeout, choose_usual_changes
from langchain_sandbox.shared import get_shared
from langchain_sandbox.workspace.inbound.selection import find_folder
from langchain_sandbox.workspace_config import Retention, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from anyio.from_thread import BlockingPortal

    from langchain_sandbox.executions import CommandResult
    from langchain_sandbox.held_run import HeldRun
    from langchain_sandbox.orders import Order
    from langchain_sandbox.result import SandboxResult

DEFAULT_SHELL_TIMEOUT = 3600.0
"""Seconds that a shell's container may live, where nobody says otherwise."""
DEFAULT_OUTPUT_LIMIT = 1024 * 1024
"""Bytes of a command's output that are kept, where nobody says otherwise."""

_NAME = "(shell)"


@dataclass(frozen=True, slots=True)
class _Begun:
    """A shell whose container is there, or is on its way."""

    portal: BlockingPortal
    run: HeldRun
    future: Future[SandboxResult]
    handle: RunHandle
    process: int

    @property
    def failed(self) -> bool:
        """Whether there was nothing that could be tried, such as no engine; trying again may help."""
        future = self.future
        return future.done() and not future.cancelled() and isinstance(future.exception(), SandboxError)


class Shell(Applier, Closing):
    """Runs commands, one after another or side by side, in one ephemeral, hardened container.

    The container is as closed as that of a task, but neither OpenCode nor a model is in it: who calls decides on every
    command. It starts with the first one and lives until `finish` or `close`, an hour if nobody says otherwise, and
    never longer than this process. All methods may be called from any thread and any event loop.

    Args:
        workspace: The folder whose copy commands work on; `SANDBOX_WORKSPACE`, else an empty one.
        image: As for `Sandbox`.
        limits: What all commands together may use; `SANDBOX_LIMIT_*` by default. Those of the model do not matter.
        changes: What becomes of the changes at the end; as for `Sandbox`.
        timeout: Seconds that the container may live from its start; 3600 by default.
        queue_timeout: As for `Sandbox`.
        retention: As for `Sandbox`.
        allow_ignored_limits: As for `Sandbox`.
        runtime: As for `Sandbox`.
        egress: As for `Sandbox`: where commands may go; `SANDBOX_EGRESS`, else nowhere.

    Raises:
        SandboxConfigError: If an option cannot work.

    Example:
        ```python
        with Shell(workspace="path/to/repository") as shell:
            print(shell.execute("python -m pytest -q").text)
            shell.execute("sed -i s/colour/color/ README.md")
            result = shell.finish()
        shell.apply(result)
        ```
    """

    def __init__(  # noqa: PLR0913 - each is a choice that somebody has to make
        self,
        *,
        workspace: Workspace | str | os.PathLike[str] | None = None,
        image: str | None = None,
        limits: Limits | None = None,
        changes: ChangesPolicy | None = None,
        timeout: float = DEFAULT_SHELL_TIMEOUT,
        queue_timeout: float | None = None,
        retention: Retention | None = None,
        allow_ignored_limits: bool | None = None,
        runtime: str | None = None,
        egress: Egress | Iterable[str] | None = None,
    ) -> None:
        environ = os.environ
        chosen = workspace if workspace is not None else environ.get("SANDBOX_WORKSPACE") or None
        self.workspace = None if chosen is None else Workspace.of(chosen)
        policy = choose_usual_changes(changes, self.workspace, environ)
        if self.workspace is not None and self.workspace.mode == "bind" and policy != "apply":
            msg = (
                f'With Workspace(mode="bind") commands work in the folder itself, so changes={policy!r} cannot be: '
                'say changes="apply", or use Workspace(mode="copy").'
            )
            raise SandboxConfigError(msg)
        self._request = RunRequest(
            prompt=Prompt(text="", asked=_NAME),
            output=None,
            workspace=self.workspace,
            model=None,
            allow_remote_model=False,
            allow_ignored_limits=may_ignore_limits(environ) if allow_ignored_limits is None else allow_ignored_limits,
            runtime=choose_runtime(runtime, environ),
            image=image or environ.get("SANDBOX_IMAGE") or None,
            limits=limits or Limits.from_env(),
            timeout=check_timeout("timeout", timeout),
            queue_timeout=None if queue_timeout is None else check_timeout("queue_timeout", queue_timeout),
            changes=policy,
            retention=retention or Retention.from_env(),
            egress=Egress.from_env(environ) if egress is None else Egress.of(egress),
        )
        self._lock = threading.Lock()
        self._begun: _Begun | None = None
        self._closed = False

    @property
    def run_id(self) -> str:
        """The name under which it is kept, as a run's."""
        return self._request.run_id

    @property
    def root(self) -> str:
        """Where commands start, unless they are told otherwise: the workspace in the container.

        Raises:
            SandboxConfigError: If the workspace is no folder, or in a repository that git cannot read.
        """
        if self.workspace is None or self.workspace.mode == "bind":
            return REPOSITORY
        return f"{REPOSITORY}/{find_folder(self.workspace.path)}".rstrip("/")

    def execute(
        self,
        command: str | Sequence[str],
        *,
        stdin: bytes | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        output_limit: int = DEFAULT_OUTPUT_LIMIT,
        title: str | None = None,
    ) -> CommandResult:
        """Run a command to its end. Interrupting the wait (Ctrl-C) kills it.

        Args:
            command: Text for `bash`, or a program and its arguments; 128 KiB at most in one piece, and 1 Mi characters
                in all.
            stdin: Its standard input; nothing by default. At most 256 MiB.
            cwd: Where it starts, from the workspace's copy; there by default.
            timeout: Seconds that it may take; then it is killed with everything that it started in its own process
                group, and what it printed until then is returned. As long as the container lives by default.
            output_limit: Bytes of output to keep; the command is left running beyond, and the rest let go.
            title: What the run's events and its result call it; the command by default.

        Returns:
            How it ended, whatever that was. What it left running in the background goes on.

        Raises:
            SandboxConfigError: If an argument cannot work, or, at the first command, an option cannot.
            SandboxUnavailableError: If the engine or the image is not there.
            SandboxError: If the container is gone; the message says why. `finish` has the result then. Also if the
                shell was closed before its first command.
        """
        order = build_order(command, stdin=stdin, cwd=cwd, timeout=timeout, output_limit=output_limit, title=title)
        begun = self._begin()
        future = begun.portal.start_task_soon(_attend, begun, order)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def aexecute(
        self,
        command: str | Sequence[str],
        *,
        stdin: bytes | None = None,
        cwd: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - kept where the command runs, which a cancelled wait would kill
        output_limit: int = DEFAULT_OUTPUT_LIMIT,
        title: str | None = None,
    ) -> CommandResult:
        """As `execute`. Cancelling the waiting task kills the command."""
        order = build_order(command, stdin=stdin, cwd=cwd, timeout=timeout, output_limit=output_limit, title=title)
        begun = self._begun_here()
        if begun is None or begun.failed:
            begun = await asyncio.to_thread(self._begin)
        return await asyncio.wrap_future(begun.portal.start_task_soon(_attend, begun, order))

    def finish(self) -> SandboxResult:
        """End the container, and give what was changed in it; at a second time, the same again.

        Commands that still run are killed. A container that ended before is told as what it came to.

        Raises:
            SandboxConfigError: If an option cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
            SandboxError: If the shell was closed before its first command.
        """
        return self._ask_to_finish().result()

    async def afinish(self) -> SandboxResult:
        """As `finish`. If the waiting task is cancelled, the container is taken away as by `close`."""
        return await (await asyncio.to_thread(self._ask_to_finish)).aresult()

    def close(self) -> None:
        """Take the container away, if it is there, within five seconds; what was changed is kept with the run.

        There will be no other one.
        """
        self._closed = True
        if self._begun is not None and self._begun.process == os.getpid():
            self._begun.handle.__exit__()

    async def aclose(self) -> None:
        """As `close`."""
        self._closed = True
        if self._begun is not None and self._begun.process == os.getpid():
            await self._begun.handle.__aexit__()

    def __repr__(self) -> str:
        workspace = str(self.workspace.path) if self.workspace else None
        return f"Shell(workspace={workspace!r}, run_id={self.run_id!r})"

    def _ask_to_finish(self) -> RunHandle:
        begun = self._begin()
        if not begun.future.done():
            begun.portal.start_task_soon(begun.run.finish)
        return begun.handle

    def _begun_here(self) -> _Begun | None:
        begun = self._begun
        if begun is not None and begun.process != os.getpid():
            msg = "This shell belongs to the process that began it, and not to a child of it; make one there."
            raise SandboxConfigError(msg)
        return begun

    def _begin(self) -> _Begun:
        """The container, started if it was not; blocks for a moment."""
        with self._lock:
            begun = self._begun_here()
            if begun is not None and not begun.failed:
                return begun
            if self._closed:
                msg = "The shell is closed; make another one."
                raise SandboxError(msg)
            begun = self._begun = self._start()
            if self._closed:  # meanwhile, by somebody who may not have seen that there is something to close
                begun.handle.cancel()
            return begun

    def _start(self) -> _Begun:
        portal, log = get_portal(), EventLog(most=0)  # nobody reads it: the events are for those kept with the run
        shared = get_shared(portal)
        run = portal.call(shared.new_held_run, self._request, log, find_engine())
        loop = portal.call(_find_loop)
        future = portal.start_task_soon(shared.execute, run)
        handle = RunHandle(run=run, future=future, log=log, run_id=self.run_id)
        # At the end of the process the portal itself sees to it.
        weakref.finalize(self, _let_go, loop, run).atexit = False
        return _Begun(portal, run, future, handle, os.getpid())


async def _attend(begun: _Begun, order: Order) -> CommandResult:
    """Have a command run, for as long as the container is there."""
    command = asyncio.ensure_future(begun.run.run_command(order))
    over = asyncio.ensure_future(begun.run.over.wait())
    both: set[asyncio.Future[Any]] = {command, over}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if command.done():
            return command.result()
    finally:
        over.cancel()
        if not command.done():
            command.cancel()
            with suppress(asyncio.CancelledError):
                await command
    ended = asyncio.wrap_future(begun.future)
    await asyncio.wait({ended})
    if ended.cancelled():
        msg = "The shell is over: this process is about to end."
        raise SandboxError(msg)
    ending = ended.result().ending
    msg = f"The shell is over: {ending.message} {ending.hint}".rstrip()
    raise SandboxError(msg)


async def _find_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def _let_go(loop: asyncio.AbstractEventLoop, run: HeldRun) -> None:
    """Nobody holds the shell any more. Called wherever garbage is collected: it must wait for nothing."""
    with suppress(RuntimeError):  # the loop is closed, and took the container with it
        loop.call_soon_threadsafe(run.cancel)
