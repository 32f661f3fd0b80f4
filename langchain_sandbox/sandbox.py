"""The façade: one object that knows the model, the limits and the engine, and runs tasks."""

from __future__ import annotations

import asyncio
import os
import secrets
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from langchain_sandbox.config import DEFAULT_TIMEOUT, MAX_TASK, ChangesPolicy, Limits, ModelEndpoint, may_be_remote
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError
from langchain_sandbox.event_log import EventLog
from langchain_sandbox.handle import RunHandle
from langchain_sandbox.installation import MEND, describe_clash
from langchain_sandbox.portal import get_portal
from langchain_sandbox.run import RunRequest
from langchain_sandbox.shared import get_shared
from langchain_sandbox.workspace.apply import apply_patch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_sandbox.events import SandboxEvent
    from langchain_sandbox.result import SandboxResult


class Sandbox:
    """Runs coding tasks in ephemeral, hardened containers. Makes nothing until the first run; holds no container.

    Every option that is not given is read from the environment, so `Sandbox()` works where `SANDBOX_*` is set.

    Args:
        model: The model server; `SANDBOX_MODEL_BASE_URL`, `_NAME` and `_API_KEY` by default.
        workspace: The folder whose copy tasks work on; `SANDBOX_WORKSPACE`, else an empty one.
        image: An image derived from ours; `SANDBOX_IMAGE`, else what `[tool.langchain-sandbox]` in the workspace's
            `pyproject.toml` picks, else the package's own. See `langchain-sandbox build`.
        limits: What a run may use; `SANDBOX_LIMIT_*` by default.
        changes: What becomes of the changes: `"return"` gives them back as a patch, `"apply"` also puts a completed
            run's into the workspace, `"discard"` drops them; `"review"` gives them back for someone to decide.
            `SANDBOX_CHANGES`, else `"return"`.
        timeout: Seconds that a run may take from its container's start; `SANDBOX_TIMEOUT`, else 300.
        queue_timeout: Seconds that a run may wait for a place to boot; no limit by default.
        allow_remote_model: Whether the model server may be outside loopback and private networks;
            `SANDBOX_ALLOW_REMOTE_MODEL=1`, else no.

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

    def __init__(
        self,
        *,
        model: ModelEndpoint | str | None = None,
        workspace: str | os.PathLike[str] | None = None,
        image: str | None = None,
        limits: Limits | None = None,
        changes: ChangesPolicy | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        allow_remote_model: bool | None = None,
    ) -> None:
        environ = os.environ
        if isinstance(model, str):
            model = ModelEndpoint(model)
        self.model = model or ModelEndpoint.from_env()
        chosen = workspace if workspace is not None else environ.get("SANDBOX_WORKSPACE") or None
        self.workspace = _check_workspace(chosen)
        self.image = image or environ.get("SANDBOX_IMAGE") or None
        self.limits = limits or Limits.from_env()
        self.changes = _check_changes(changes or environ.get("SANDBOX_CHANGES") or "return")
        self.timeout = _check_timeout(
            "timeout", timeout if timeout is not None else environ.get("SANDBOX_TIMEOUT") or DEFAULT_TIMEOUT
        )
        self.queue_timeout = None if queue_timeout is None else _check_timeout("queue_timeout", queue_timeout)
        if allow_remote_model is None:
            allow_remote_model = may_be_remote(environ)
        self.allow_remote_model = allow_remote_model

    def run(
        self,
        task: str,
        *,
        workspace: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        changes: ChangesPolicy | None = None,
    ) -> SandboxResult:
        """Run a task and wait for its result.

        Args:
            task: What the agent should do, in plain words; up to 4 MiB.
            workspace: As for `Sandbox`, for this run.
            timeout: As for `Sandbox`, for this run.
            changes: As for `Sandbox`, for this run.

        Returns:
            How it ended and what came of it. Runs that fail are returned too: look at `result.status`.

        Raises:
            SandboxConfigError: If what is asked for cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
        """
        return self.start(task, workspace=workspace, timeout=timeout, changes=changes).result()

    async def arun(
        self,
        task: str,
        *,
        workspace: str | os.PathLike[str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the run's own limit; a caller's time-out cancels it
        changes: ChangesPolicy | None = None,
    ) -> SandboxResult:
        """As `run`. Cancelling it ends the run and removes its container first."""
        handle = await self.astart(task, workspace=workspace, timeout=timeout, changes=changes)
        return await handle.aresult()

    def stream(
        self,
        task: str,
        *,
        workspace: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        changes: ChangesPolicy | None = None,
    ) -> Iterator[SandboxEvent]:
        """Run a task and give its events as they happen; leaving the loop early cancels the run.

        Raises:
            SandboxConfigError: If what is asked for cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
        """
        with self.start(task, workspace=workspace, timeout=timeout, changes=changes) as handle:
            yield from handle.events()
            handle.result()

    async def astream(
        self,
        task: str,
        *,
        workspace: str | os.PathLike[str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as in `arun`
        changes: ChangesPolicy | None = None,
    ) -> AsyncIterator[SandboxEvent]:
        """As `stream`, in an event loop."""
        async with await self.astart(task, workspace=workspace, timeout=timeout, changes=changes) as handle:
            async for event in handle.aevents():
                yield event
            await handle.aresult()

    def start(
        self,
        task: str,
        *,
        workspace: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        changes: ChangesPolicy | None = None,
    ) -> RunHandle:
        """Begin a run and return at once; the handle waits, watches and cancels.

        Raises:
            SandboxConfigError: If what is asked for cannot work.
            SandboxUnavailableError: If the docker command's context cannot be read.
        """
        request = RunRequest(
            run_id=secrets.token_hex(6),
            task=check_task(task),
            workspace=self.workspace if workspace is None else _check_workspace(workspace),
            endpoint=self.model,
            allow_remote_model=self.allow_remote_model,
            image=self.image,
            limits=self.limits,
            timeout=_check_timeout("timeout", self.timeout if timeout is None else timeout),
            queue_timeout=self.queue_timeout,
            changes=_check_changes(changes or self.changes),
        )
        portal = get_portal()
        log = EventLog()
        run = portal.call(get_shared(portal).new_run, request, log, find_engine())
        return RunHandle(run=run, future=portal.start_task_soon(run.execute), log=log, run_id=request.run_id)

    async def astart(
        self,
        task: str,
        *,
        workspace: str | os.PathLike[str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as in `arun`
        changes: ChangesPolicy | None = None,
    ) -> RunHandle:
        """As `start`, without blocking the event loop."""
        return await asyncio.to_thread(self.start, task, workspace=workspace, timeout=timeout, changes=changes)

    def apply(self, result: SandboxResult, *, workspace: str | os.PathLike[str] | None = None) -> list[str]:
        """Put a result's changes into the workspace that they were made for.

        Args:
            result: What a run returned, in this process or read back from JSON.
            workspace: Where to apply; the result's own workspace by default.

        Returns:
            The paths that were changed.

        Raises:
            SandboxApplyError: If the tree is not as it was when the run began; nothing was touched.
        """
        root = workspace or result.workspace.root
        if root is None:
            msg = "The run had no workspace to apply its changes to; pass apply(result, workspace=...)."
            raise SandboxApplyError(msg)
        text = result.patch
        if text is None and result.patch_reference is not None:
            try:
                text = Path(result.patch_reference.path).read_text(encoding="utf-8")
            except OSError as error:
                msg = f"The patch {result.patch_reference.path} cannot be read: {error.strerror}."
                raise SandboxApplyError(msg) from error
        return apply_patch(Path(root), text or "", digest=result.workspace.digest, limits=self.limits)

    async def aapply(self, result: SandboxResult, *, workspace: str | os.PathLike[str] | None = None) -> list[str]:
        """As `apply`, without blocking the event loop."""
        return await asyncio.to_thread(self.apply, result, workspace=workspace)

    def __repr__(self) -> str:
        workspace = str(self.workspace) if self.workspace else None
        return f"Sandbox(model={self.model!r}, workspace={workspace!r}, changes={self.changes!r})"


def _warn_of_name_clash() -> None:
    """Say so where the archived distribution with the same import name is installed beside this one."""
    clash = describe_clash()
    if clash is not None:
        warnings.warn(f"{clash} {MEND}", RuntimeWarning, stacklevel=2)


_warn_of_name_clash()


def check_task(task: str) -> str:
    """Refuse a task that could not arrive as it was written.

    Raises:
        SandboxConfigError: If it is empty, too long, or holds a NUL or half a character.
    """
    if not isinstance(task, str) or not task.strip():
        msg = "The task is empty. Say in plain words what the agent should do."
        raise SandboxConfigError(msg)
    if "\0" in task:
        msg = f"The task holds a NUL character at position {task.index(chr(0))}; take it out."
        raise SandboxConfigError(msg)
    try:
        size = len(task.encode("utf-8"))
    except UnicodeEncodeError as error:
        msg = f"The task holds half of a character (a lone surrogate) at position {error.start}; take it out."
        raise SandboxConfigError(msg) from error
    if size > MAX_TASK:
        msg = (
            f"The task has {size} bytes; at most {MAX_TASK} are taken. Put long material into a file of the workspace."
        )
        raise SandboxConfigError(msg)
    return task


def _check_workspace(value: str | os.PathLike[str] | None) -> Path | None:
    if value is None:
        return None
    if not os.fspath(value):
        msg = "workspace is empty; leave it out for a run without files, or use '.' for the current folder."
        raise SandboxConfigError(msg)
    try:
        return Path(value).expanduser().absolute()
    except (TypeError, RuntimeError) as error:
        msg = f"workspace is the path of a folder, not {value!r}: {error}."
        raise SandboxConfigError(msg) from error


def _check_timeout(name: str, value: Any) -> float:  # noqa: ANN401 - it may come from the environment
    try:
        seconds = float(value)
    except (TypeError, ValueError) as error:
        msg = f"{name} is a number of seconds, not {value!r}."
        raise SandboxConfigError(msg) from error
    if not 0 < seconds < float("inf"):
        msg = f"{name} is a positive number of seconds, not {value!r}."
        raise SandboxConfigError(msg)
    return seconds


def _check_changes(value: str) -> ChangesPolicy:
    if value not in get_args(ChangesPolicy):
        msg = f"changes is one of {', '.join(get_args(ChangesPolicy))}, not {value!r}."
        raise SandboxConfigError(msg)
    return value  # type: ignore[return-value]
