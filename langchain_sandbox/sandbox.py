"""The façade: one object that knows the model, the limits and the engine, and runs tasks."""

from __future__ import annotations

import copy
import os
import warnings
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from langchain_sandbox.applier import Applier
from langchain_sandbox.batch import arun_side_by_side, in_order, run_side_by_side
from langchain_sandbox.config import (
    DEFAULT_TIMEOUT,
    ChangesPolicy,
    Limits,
    ModelEndpoint,
    choose_runtime,
    may_be_remote,
    may_ignore_limits,
)
from langchain_sandbox.egress_config import Egress
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.event_log import EventLog
from langchain_sandbox.handle import RunHandle, begin
from langchain_sandbox.holdings import Holdings
from langchain_sandbox.hook import Hook
from langchain_sandbox.installation import MEND, describe_clash
from langchain_sandbox.models import check_model, find_model
from langchain_sandbox.portal import get_portal
from langchain_sandbox.request import (
    RunOptions,
    RunRequest,
    build_prompt,
    check_timeout,
    check_trace,
    choose_changes,
    choose_output,
    choose_timeout,
    choose_usual_changes,
)
from langchain_sandbox.revision import build_revised_prompt
from langchain_sandbox.session import DEFAULT_IDLE, Session
from langchain_sandbox.shared import get_shared
from langchain_sandbox.watching import await_for, wait_for
from langchain_sandbox.workspace_config import Retention, Workspace

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from langchain_core.language_models import BaseChatModel

    from langchain_sandbox.commands.command import Command
    from langchain_sandbox.config import TraceLevel
    from langchain_sandbox.events import SandboxEvent
    from langchain_sandbox.gateway.contents import Contents
    from langchain_sandbox.hook import OnEvent
    from langchain_sandbox.pool_config import Pool
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.revision import Revision
    from langchain_sandbox.stay import Stay


class Sandbox(Applier, Holdings):
    """Runs coding tasks in ephemeral, hardened containers. Makes nothing until the first run.

    It holds no container but its pool's, if it has one; `close`, or the end of a `with` block, takes those away.

    Every option that is not given is read from the environment, so `Sandbox()` works where `SANDBOX_*` is set.

    Args:
        model: The model server; `SANDBOX_MODEL_BASE_URL`, `_NAME` and `_API_KEY` by default. Or any LangChain chat
            model that can call tools; it needs `allow_remote_model`.
        workspace: The folder whose copy tasks work on; `SANDBOX_WORKSPACE`, else an empty one. A `Workspace` says more:
            what else goes in, what stays outside, how much history.
        image: An image derived from ours; `SANDBOX_IMAGE`, else what `[tool.langchain-sandbox]` in the workspace's
            `pyproject.toml` picks, else the package's own. See `langchain-sandbox build`.
        limits: What a run may use; `SANDBOX_LIMIT_*` by default.
        changes: What becomes of the changes: `"return"` gives them back as a patch, `"apply"` also puts a completed
            run's into the workspace, `"discard"` drops them; `"review"` gives them back for someone to decide.
            `SANDBOX_CHANGES`, else `"return"`.
        timeout: Seconds that a run may take from its container's start; `SANDBOX_TIMEOUT`, else 300.
        queue_timeout: Seconds that a run may wait for a place to boot; no limit by default.
        allow_remote_model: Whether the model may be outside loopback and private networks, or, as a chat model is,
            where nobody can see; `SANDBOX_ALLOW_REMOTE_MODEL=1`, else no.
        allow_ignored_limits: Whether runs may take place on an engine that takes limits of memory and processes and
            ignores them, as some rootless ones do; `SANDBOX_ALLOW_IGNORED_LIMITS=1`, else no.
        runtime: The OCI runtime that containers run under, by the name that the engine knows it by: `"runsc"` is
            gVisor's, a stronger wall. `SANDBOX_RUNTIME`, else the engine's default.
        retention: How much is kept of runs that are over; `SANDBOX_KEEP_*` by default.
        trace: What LangChain's tracers are told of runs that tools and nodes begin: `"metadata"` that there were calls
            of the model and of tools, how long and how they ended; `"full"` also what was said in them; `"off"`
            nothing. `SANDBOX_TRACE`, else `"metadata"`.
        egress: Where programs in the container may go, by name: `["pypi.org", "*.example.org:443"]`, or an `Egress`
            that says more; `SANDBOX_EGRESS`, else nowhere.
        pool: Containers that are booted ahead, so that a task need not wait for that: a `Pool`, or how many; 0 for
            none. Or another sandbox, whose pool is used and which alone closes it. `SANDBOX_POOL_SIZE`, `_IDLE` and
            `_MEMORY`, else none.
        on_event: Called with each event of every run, by whoever waits for the run or reads its events, in their
            thread and context. It must not block for long; what it raises is logged and ends nothing. A coroutine
            function works with the asynchronous methods only. A sandbox that is pickled has it pickled, too.

    Raises:
        SandboxConfigError: If an option cannot work.

    Example:
        ```python
        sandbox = Sandbox(model=ModelEndpoint("http://127.0.0.1:8000/v1"), workspace="path/to/repository")
        result = sandbox.run("Make the failing test pass.")
        if result.ok:
            sandbox.apply(result)
        ```
    """

    def __init__(  # noqa: PLR0913 - each is a choice that somebody has to make
        self,
        *,
        model: ModelEndpoint | BaseChatModel | str | None = None,
        workspace: Workspace | str | os.PathLike[str] | None = None,
        image: str | None = None,
        limits: Limits | None = None,
        changes: ChangesPolicy | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        allow_remote_model: bool | None = None,
        allow_ignored_limits: bool | None = None,
        runtime: str | None = None,
        retention: Retention | None = None,
        trace: TraceLevel | None = None,
        egress: Egress | Iterable[str] | None = None,
        pool: Pool | Sandbox | int | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        environ = os.environ
        if allow_remote_model is None:
            allow_remote_model = may_be_remote(environ)
        self.allow_remote_model = allow_remote_model
        if allow_ignored_limits is None:
            allow_ignored_limits = may_ignore_limits(environ)
        self.allow_ignored_limits = allow_ignored_limits
        self.runtime = choose_runtime(runtime, environ)
        self.model = check_model(model, allow_remote=allow_remote_model)
        chosen = workspace if workspace is not None else environ.get("SANDBOX_WORKSPACE") or None
        self.workspace = _check_workspace(chosen)
        self.image = image or environ.get("SANDBOX_IMAGE") or None
        self.limits = limits or Limits.from_env()
        self.changes = choose_usual_changes(changes, self.workspace, environ)
        self.timeout = check_timeout(
            "timeout", timeout if timeout is not None else environ.get("SANDBOX_TIMEOUT") or DEFAULT_TIMEOUT
        )
        self.queue_timeout = None if queue_timeout is None else check_timeout("queue_timeout", queue_timeout)
        self.retention = retention or Retention.from_env()
        self.trace = check_trace(trace or environ.get("SANDBOX_TRACE") or "metadata")
        self.egress = Egress.from_env(environ) if egress is None else Egress.of(egress)
        Holdings.__init__(self, pool, environ)
        if on_event is not None and not callable(on_event):
            msg = f"on_event is a function that takes an event, not {on_event!r:.100}."
            raise SandboxConfigError(msg)
        self.on_event = on_event

    def run(
        self,
        task: str | None = None,
        *,
        command: str | Command | None = None,
        arguments: str | Mapping[str, Any] | None = None,
        output: object = None,
        workspace: Workspace | str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        changes: ChangesPolicy | None = None,
        revision: Revision | None = None,
    ) -> SandboxResult:
        """Run a task, or one of the repository's commands, and wait for its result.

        Args:
            task: What the agent should do, in plain words; up to 4 MiB. A task such as `"/refactor-audit src"` is the
                command of that name.
            command: A command in place of a task: its name, such as `"refactor-audit"`, or a loaded one.
            arguments: The command's, by name, or as a person would write them behind its name.
            output: The typed answer that is wanted, as `result.structured`: a pydantic model, another type that
                pydantic can describe, or a JSON Schema.
            workspace: As for `Sandbox`, for this run.
            timeout: As for `Sandbox`, for this run.
            changes: As for `Sandbox`, for this run.
            revision: An earlier run that this one goes on from, and what is asked of it now. Its changes are in the
                copy from the start, and the new result's patch holds them, too. With neither task nor command, the
                task is that run's own.

        Returns:
            How it ended and what came of it. Runs that fail are returned too: look at `result.status`.

        Raises:
            SandboxConfigError: If what is asked for cannot work.
            SandboxUnavailableError: If the engine or the image is not there.

        Example:
            ```python
            result = sandbox.run("Which modules have no tests?", output=list[str])
            result = sandbox.run(command="refactor-audit", arguments={"scope": "src"})
            result = sandbox.run(revision=Revision(result, "Leave the tests as they are."))
            ```
        """
        options = RunOptions(
            command=command,
            arguments=arguments,
            output=output,
            workspace=workspace,
            timeout=timeout,
            changes=changes,
            revision=revision,
        )
        return wait_for(self.start(task, **options))

    async def arun(self, task: str | None = None, **options: Unpack[RunOptions]) -> SandboxResult:
        """As `run`. Cancelling it ends the run and removes its container first."""
        return await await_for(await self.astart(task, **options))

    def stream(self, task: str | None = None, **options: Unpack[RunOptions]) -> Iterator[SandboxEvent]:
        """Run a task and give its events as they happen; leaving the loop early cancels the run.

        Args:
            task: As for `run`.
            **options: As for `run`.

        Raises:
            SandboxConfigError: If what is asked for cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
        """
        with self.start(task, **options) as handle:
            yield from handle.events()
            handle.result()

    async def astream(self, task: str | None = None, **options: Unpack[RunOptions]) -> AsyncIterator[SandboxEvent]:
        """As `stream`, in an event loop."""
        async with await self.astart(task, **options) as handle:
            async for event in handle.aevents():
                yield event
            await handle.aresult()

    def start(self, task: str | None = None, **options: Unpack[RunOptions]) -> RunHandle:
        """Begin a run and return at once; the handle waits, watches and cancels.

        Args:
            task: As for `run`.
            **options: As for `run`.

        Raises:
            SandboxConfigError: If what is asked for cannot work.
            SandboxUnavailableError: If the docker command's context cannot be read.
        """
        return self._start(task, **options)

    def _start(self, task: str | None = None, *, stay: Stay | None = None, **options: Unpack[RunOptions]) -> RunHandle:
        request = self._build_request(task, **options)
        portal = get_portal()
        log = EventLog()
        pool = self._pool.begin() if self._pool is not None else None
        shared = get_shared(portal)
        run = portal.call(shared.new_run, request, log, find_engine(), pool, stay)
        future = portal.start_task_soon(shared.execute, run)
        future.add_done_callback(lambda _: log.close())  # also where the portal is closed before the run begins
        return RunHandle(run=run, future=future, log=log, run_id=request.run_id, on_event=self.on_event)

    async def astart(self, task: str | None = None, **options: Unpack[RunOptions]) -> RunHandle:
        """As `start`, without blocking the event loop."""
        return await begin(partial(self.start, task, **options))

    def session(
        self, *, workspace: Workspace | str | os.PathLike[str] | None = None, idle: float = DEFAULT_IDLE
    ) -> Session:
        """Begin a conversation of several tasks, each of which remembers those before, in one container.

        Nothing is shared with any other session or run. A follow-up need not boot OpenCode, and only what has changed
        goes in and comes out.

        Args:
            workspace: As for `run`, for all of its tasks.
            idle: Seconds that its container waits for the next task at most; then the session is over.

        Raises:
            SandboxConfigError: If an option cannot work.

        Example:
            ```python
            with sandbox.session() as session:
                plan = session.run("How would you split module utils in two?")
                result = session.run("Do it.")
            ```
        """
        return self._begin_session(self.workspace if workspace is None else _check_workspace(workspace), idle)

    def _begin_session(self, chosen: Workspace | None, idle: float) -> Session:
        if chosen is not None and chosen.mode == "bind":
            msg = 'A session works on a copy; use Workspace(mode="copy") with it, or run each task by itself.'
            raise SandboxConfigError(msg)
        return Session(self._start, workspace=chosen, limits=self.limits, idle=check_timeout("idle", idle))

    def batch(
        self, requests: Sequence[str | Mapping[str, Any]], *, max_concurrency: int | None = None
    ) -> list[SandboxResult]:
        """Run several tasks side by side and wait for all of them.

        How many containers boot at once is bounded for the whole process, whoever starts them.

        Args:
            requests: Tasks, or `run`'s arguments by name: `{"task": "...", "workspace": "path/to/repository"}`.
            max_concurrency: How many run at once; no limit by default.

        Returns:
            The results, in the order of the requests.

        Raises:
            SandboxConfigError: If what one of them asks for cannot work. All are looked at before the first one begins;
                if it is found out later, the others are cancelled.
            SandboxUnavailableError: If the engine or the image is not there.

        Example:
            ```python
            results = sandbox.batch([{"command": "refactor-audit", "workspace": path} for path in repositories])
            ```
        """
        return in_order(dict(self.batch_as_completed(requests, max_concurrency=max_concurrency)))

    async def abatch(
        self, requests: Sequence[str | Mapping[str, Any]], *, max_concurrency: int | None = None
    ) -> list[SandboxResult]:
        """As `batch`. Cancelling it ends all runs and removes their containers first."""
        async with aclosing(self.abatch_as_completed(requests, max_concurrency=max_concurrency)) as results:
            return in_order({place: result async for place, result in results})

    def batch_as_completed(
        self, requests: Sequence[str | Mapping[str, Any]], *, max_concurrency: int | None = None
    ) -> Generator[tuple[int, SandboxResult], None, None]:
        """Run several tasks side by side and give each result as soon as it is there, while others wait for their turn.

        They begin in the order of the requests. Closing the iterator, as leaving the loop does, cancels those that are
        under way, and is over when their containers are gone.

        Args:
            requests: As for `batch`.
            max_concurrency: As for `batch`.

        Returns:
            An iterator over pairs: a request's place in the list, counted from 0, and its result.

        Raises:
            SandboxConfigError: As by `batch`.
            SandboxUnavailableError: As by `batch`.

        Example:
            ```python
            for index, result in sandbox.batch_as_completed(tasks):
                print(tasks[index], result.status)
            ```
        """
        hook = Hook(self.on_event)
        hook.require_sync()
        quiet = copy.copy(self)  # its runs are waited for on the portal's loop, where nothing of the user's is called
        quiet.on_event = None
        quiet._pool = self._pool  # noqa: SLF001 - our own
        return run_side_by_side(quiet.astart, requests, max_concurrency, check=self._check_request, hook=hook)

    def abatch_as_completed(
        self, requests: Sequence[str | Mapping[str, Any]], *, max_concurrency: int | None = None
    ) -> AsyncGenerator[tuple[int, SandboxResult], None]:
        """As `batch_as_completed`. Who leaves the loop early closes it with `contextlib.aclosing`."""
        return arun_side_by_side(self.astart, requests, max_concurrency, check=self._check_request)

    def _check_request(self, task: str | None = None, **options: Unpack[RunOptions]) -> None:
        workspace = self._build_request(task, **options).workspace
        if workspace is not None and not workspace.path.is_dir():
            msg = f"The workspace {workspace.path} is not a folder."
            raise SandboxConfigError(msg)

    def _build_request(  # noqa: PLR0913 - each can be said for a run
        self,
        task: str | None,
        *,
        command: str | Command | None = None,
        arguments: str | Mapping[str, Any] | None = None,
        output: object = None,
        workspace: Workspace | str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        changes: ChangesPolicy | None = None,
        record: Contents | None = None,
        revision: Revision | None = None,
        warnings: Sequence[str] = (),
    ) -> RunRequest:
        chosen = self.workspace if workspace is None else _check_workspace(workspace)
        root = chosen.path if chosen is not None else None
        if revision is None:
            prompt = build_prompt(task, command, arguments, root=root)
        else:
            prompt = build_revised_prompt(revision, task, command, arguments, root=root)
        if self.egress is not None:
            prompt = prompt.with_note(self.egress.note)
        policy = choose_changes(changes, self.changes, prompt.command)
        if chosen is not None and chosen.mode == "bind" and policy != "apply":
            msg = (
                f'With Workspace(mode="bind") the agent works in the folder itself, so changes={policy!r} cannot be: '
                'say changes="apply" for this run, or use Workspace(mode="copy").'
            )
            raise SandboxConfigError(msg)
        seconds, warned = choose_timeout(timeout, self.timeout, prompt.command)
        return RunRequest(
            prompt=prompt,
            output=choose_output(output, prompt.command),
            workspace=chosen,
            model=find_model(self.model, prompt.command),
            allow_remote_model=self.allow_remote_model,
            allow_ignored_limits=self.allow_ignored_limits,
            runtime=self.runtime,
            image=self.image,
            limits=self.limits,
            timeout=seconds,
            queue_timeout=self.queue_timeout,
            changes=policy,
            retention=self.retention,
            revision=revision,
            warnings=(*warned, *warnings),
            record=record,
            egress=self.egress,
        )

    def __repr__(self) -> str:
        workspace = str(self.workspace.path) if self.workspace else None
        # A chat model's own words are long, and not all of them hide its key.
        model = self.model if isinstance(self.model, ModelEndpoint) else type(self.model).__name__
        return f"Sandbox(model={model!r}, workspace={workspace!r}, changes={self.changes!r})"


def _warn_of_name_clash() -> None:
    """Say so where the archived distribution with the same import name is installed beside this one."""
    clash = describe_clash()
    if clash is not None:
        warnings.warn(f"{clash} {MEND}", RuntimeWarning, stacklevel=2)


_warn_of_name_clash()


def _check_workspace(value: Workspace | str | os.PathLike[str] | None) -> Workspace | None:
    return None if value is None else Workspace.of(value)
