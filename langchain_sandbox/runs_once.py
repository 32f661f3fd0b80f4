"""A run that a step of a graph has asked for is not repeated when that step is taken again.

LangGraph takes a step again after an error (`RetryPolicy`), after an interrupt, and when a thread is resumed whose
process has died; it gives the step the same task id each time. Under that id, and under what exactly is asked for,
the result is kept. Whoever asks again gets it; whoever asks while the first one still works waits for it.

Outside of a graph there is no such id, and a run is simply a run.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from langgraph.runtime import get_runtime

from langchain_sandbox.errors import SandboxUnavailableError, SessionOverError
from langchain_sandbox.handle import begin
from langchain_sandbox.output import Output
from langchain_sandbox.request import MAX_COMMAND_TIMEOUT, check_timeout
from langchain_sandbox.run_store import DirectoryRunStore
from langchain_sandbox.thread_sessions import find_thread
from langchain_sandbox.workspace_config import Workspace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from langgraph.runtime import ExecutionInfo

    from langchain_sandbox.events import SandboxEvent
    from langchain_sandbox.gateway.contents import Contents
    from langchain_sandbox.handle import RunHandle
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.run_store import Claim, RunStore
    from langchain_sandbox.sandbox import Sandbox
    from langchain_sandbox.workspace_config import Retention

DEFAULT_STORE = DirectoryRunStore()
"""Where results are kept, where nobody says otherwise."""

_NO_RESULT = {"cancelled", "model_unreachable", "engine_error", "protocol_error", "stalled", "crashed"}
"""Endings that say nothing of the task: whoever takes the step again has it tried again."""

_ANEW = (
    "The thread's session was over, so this task began a new one: the agent remembers nothing of the tasks before, and "
    "has of their changes only what is in the workspace."
)

_GRACE = 60.0
_LOOK = 0.2

logger = logging.getLogger(__name__)


def run_once(
    sandbox: Sandbox,
    request: Mapping[str, Any],
    *,
    store: RunStore | None,
    emit: Callable[[SandboxEvent], object],
    call_id: str | None = None,
    contents: Contents | None = None,
    session_ttl: float | None = None,
) -> SandboxResult:
    """Run, or give the result of the run that the same step of the graph has had already.

    A run that was cancelled is no result: it is run again. So is one that ended for what has nothing to do with its
    task, such as a model server that did not answer.

    Args:
        sandbox: What runs it.
        request: What is asked for: the keyword arguments of `Sandbox.start`.
        store: Where results are kept; `None` to run in any case.
        emit: Called with each event. A result that was kept has none.
        call_id: The tool call, where one step answers several.
        contents: Collects what is said to the model and by it; by default nobody does.
        session_ttl: Seconds that the session of the graph's thread waits for its next task; `None` for no session.

    Returns:
        The result; its `structured` is plain JSON if it was kept.

    Raises:
        SandboxConfigError: If what is asked for cannot work.
        SandboxUnavailableError: If the engine or the image is not there, or if somebody else has the same step for
            longer than its run may take.
    """
    key = _find_key(sandbox, request, store, call_id)
    patience = _Patience(_find_limit(sandbox, request))
    while (turn := _Turn.take(store, key, sandbox.retention)) is None:
        patience.check()
        time.sleep(_LOOK)
    with closing(turn):
        kept = turn.find_result()
        if kept is not None:
            return kept
        options = {**request, "record": contents}
        try:
            result = _run(sandbox, options, session_ttl, turn, emit)
        except SessionOverError:  # it ended after we looked; nothing was begun, and the next one is new
            result = _run(sandbox, options, session_ttl, turn, emit)
        turn.finish(result)
        return result


async def arun_once(
    sandbox: Sandbox,
    request: Mapping[str, Any],
    *,
    store: RunStore | None,
    emit: Callable[[SandboxEvent], Awaitable[object]],
    call_id: str | None = None,
    contents: Contents | None = None,
    session_ttl: float | None = None,
) -> SandboxResult:
    """As `run_once`. Cancelling it ends the run and removes its container before anybody else has the step."""
    key = await asyncio.to_thread(_find_key, sandbox, request, store, call_id)
    patience = _Patience(_find_limit(sandbox, request))
    while (turn := await asyncio.to_thread(_Turn.take, store, key, sandbox.retention)) is None:
        patience.check()
        await asyncio.sleep(_LOOK)
    with closing(turn):
        kept = await asyncio.to_thread(turn.find_result)
        if kept is not None:
            return kept
        options = {**request, "record": contents}
        try:
            result = await _arun(sandbox, options, session_ttl, turn, emit)
        except SessionOverError:
            result = await _arun(sandbox, options, session_ttl, turn, emit)
        await asyncio.to_thread(turn.finish, result)
        return result


def _run(
    sandbox: Sandbox,
    options: dict[str, Any],
    session_ttl: float | None,
    turn: _Turn,
    emit: Callable[[SandboxEvent], object],
) -> SandboxResult:
    with _start(sandbox, options, session_ttl) as handle:
        turn.begin(handle.run_id)
        for event in handle.events():
            emit(event)
        return handle.result()


async def _arun(
    sandbox: Sandbox,
    options: dict[str, Any],
    session_ttl: float | None,
    turn: _Turn,
    emit: Callable[[SandboxEvent], Awaitable[object]],
) -> SandboxResult:
    async with await begin(partial(_start, sandbox, options, session_ttl)) as handle:
        await asyncio.to_thread(turn.begin, handle.run_id)
        async for event in handle.aevents():
            await emit(event)
        return await handle.aresult()


def _start(sandbox: Sandbox, options: dict[str, Any], session_ttl: float | None) -> RunHandle:
    """Begin the run, in the session of the graph's thread if that is wanted and there is a thread.

    A revision is a run of its own: what it gives back takes the place of the earlier result as a whole.
    """
    thread = find_thread() if session_ttl is not None else None
    if session_ttl is None or thread is None or options.get("revision") is not None:
        return sandbox.start(**options)
    options = dict(options)
    chosen = options.pop("workspace", None)
    workspace = sandbox.workspace if chosen is None else Workspace.of(chosen)
    session, again = sandbox.threads.get(thread, workspace, ttl=session_ttl)
    handle = session.start(**options, warnings=[_ANEW] if again else [])
    sandbox.threads.note(thread, workspace)
    return handle


class _Patience:
    """Waits for somebody else's run of the same step, but not for ever.

    Args:
        limit: Seconds.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._began: float | None = None

    def check(self) -> None:
        """Say once that we wait, and in the end that we did so in vain.

        Raises:
            SandboxUnavailableError: If it took too long.
        """
        if self._began is None:
            self._began = time.monotonic()
            logger.info("the step's run is under way elsewhere; its result is waited for")
        elif time.monotonic() - self._began > self._limit:
            msg = (
                f"The run of this step is under way elsewhere, in another process or thread that has the same thread "
                f"of the graph, and was not over within {self._limit:g} s. Nothing was started here."
            )
            raise SandboxUnavailableError(msg)


class _Turn:
    """Our turn at a step's run. With nothing claimed, as outside of a graph, it finds nothing and keeps nothing.

    What cannot be kept is a warning and never the end of a run.
    """

    def __init__(self, store: RunStore | None, claim: Claim | None, retention: Retention) -> None:
        self._store = store
        self._claim = claim
        self._retention = retention

    @classmethod
    def take(cls, store: RunStore | None, key: str | None, retention: Retention) -> _Turn | None:
        """Take it, if nobody else has it."""
        if store is None or key is None:
            return cls(None, None, retention)
        try:
            claim = store.claim(key)
        except OSError as error:
            logger.warning("%r cannot be used, so a step that is taken again repeats its run: %s", store, error)
            return cls(None, None, retention)
        return cls(store, claim, retention) if claim is not None else None

    def find_result(self) -> SandboxResult | None:
        """What the step's run has come to already."""
        result = self._claim.find_result() if self._claim is not None else None
        if result is None or result.status in _NO_RESULT:
            return None
        logger.info("[%s] the step is taken again; its run is over, and is not repeated", result.run_id)
        return result

    def begin(self, run_id: str) -> None:
        """Note the run."""
        if self._claim is not None:
            try:
                self._claim.begin(run_id)
            except OSError as error:
                logger.warning("[%s] the run cannot be noted: %s", run_id, error)

    def finish(self, result: SandboxResult) -> None:
        """Keep the result, and make room for others."""
        if self._claim is not None and self._store is not None:
            try:
                self._claim.finish(result)
                self._store.sweep(self._retention)
            except OSError as error:
                logger.warning("[%s] the result cannot be kept for its step: %s", result.run_id, error)

    def close(self) -> None:
        """Let others have it."""
        if self._claim is not None:
            self._claim.release()


def _find_key(sandbox: Sandbox, request: Mapping[str, Any], store: RunStore | None, call_id: str | None) -> str | None:
    step = _find_step()
    if store is None or step is None or not sandbox.retention.keeps:
        return None
    return build_key(step, sandbox, request, call_id=call_id)


def _find_step() -> ExecutionInfo | None:
    """The step of the graph that we are in, if there is a graph."""
    try:
        runtime = get_runtime()
    except (RuntimeError, KeyError):
        return None
    # In a runnable that no graph has called it is None, whatever its type says.
    return runtime.execution_info if runtime is not None else None


def build_key(step: ExecutionInfo, sandbox: Sandbox, request: Mapping[str, Any], *, call_id: str | None = None) -> str:
    """The key of what a step asks for: 64 hexadecimal digits.

    What is asked for is part of the key, not a second thing to compare: one step may ask for several different runs,
    at the same time too.

    Args:
        step: The step of the graph.
        sandbox: What runs it.
        request: The keyword arguments of `Sandbox.start`. How long it may take makes no other key.
        call_id: The tool call.

    Raises:
        SandboxConfigError: If the workspace or the output is none.
    """
    chosen = request.get("workspace")
    workspace = sandbox.workspace if chosen is None else Workspace.of(chosen)
    command = request.get("command")
    wanted = request.get("output")
    parts = {
        "step": [step.thread_id, step.checkpoint_ns, step.task_id, call_id],
        "task": request.get("task"),
        "command": command if command is None or isinstance(command, str) else [command.name, command.digest],
        "arguments": request.get("arguments"),
        "workspace": None if workspace is None else asdict(workspace),
        "changes": request.get("changes") or sandbox.changes,
        "output": None if wanted is None else Output.of(wanted).schema,
    }
    revision = request.get("revision")
    if revision is not None:
        parts["revision"] = [revision.result.run_id, revision.comment]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _find_limit(sandbox: Sandbox, request: Mapping[str, Any]) -> float:
    """Seconds that somebody else's run of the same step may take."""
    own = request.get("timeout")
    if own is not None:
        return check_timeout("timeout", own) + _GRACE
    task, revision = request.get("task"), request.get("revision")
    if task is None and revision is not None:
        task = revision.result.settings.task
    is_command = request.get("command") is not None or str(task).startswith("/")
    return (max(sandbox.timeout, MAX_COMMAND_TIMEOUT) if is_command else sandbox.timeout) + _GRACE
