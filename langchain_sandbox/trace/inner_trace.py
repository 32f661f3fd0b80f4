"""Tells LangChain's callback handlers of a run's model calls and tools, as children of the run that began it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    AsyncCallbackManagerForToolRun,
    BaseCallbackManager,
    CallbackManagerForLLMRun,
    CallbackManagerForToolRun,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables.config import get_async_callback_manager_for_config, get_callback_manager_for_config
from langgraph.constants import TAG_NOSTREAM

from langchain_sandbox.cancelling import is_being_cancelled
from langchain_sandbox.gateway.contents import Contents
from langchain_sandbox.gateway.spoken import Spoken
from langchain_sandbox.trace.inner_runs import Begin, End, InnerRuns
from langchain_sandbox.trace.messages import build_answer, build_message

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable
    from uuid import UUID

    from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
    from langchain_core.runnables import RunnableConfig

    from langchain_sandbox.config import TraceLevel
    from langchain_sandbox.events import SandboxEvent

# The first keeps the messages out of a graph's own stream of messages and tools, which are for its users.
TAGS = [TAG_NOSTREAM, "langchain-sandbox"]

_PATIENCE = 1.0  # seconds that handlers have of whoever cancels

_Manager = TypeVar("_Manager", bound=BaseCallbackManager)

_logger = logging.getLogger(__name__)


class InnerTrace:
    """The trace of one run. Made by `open`, used in one thread or task at a time.

    No handler can end the run: what one raises is logged, also where it has `raise_error`.

    Args:
        config: Of the run that began this one.
        level: What is told.
    """

    def __init__(self, config: RunnableConfig, *, level: TraceLevel) -> None:
        self._config = config
        self.contents = Contents() if level == "full" else None
        """Where the run is to collect what is said; `None` where nobody is to know."""
        self._runs = InnerRuns(full=level == "full", contents=self.contents)
        self._open: dict[str, Any] = {}
        self._manager: CallbackManager | None = None
        self._amanager: AsyncCallbackManager | None = None

    @classmethod
    def open(cls, config: RunnableConfig, *, level: TraceLevel) -> Self | None:
        """The trace; `None` where nobody listens, or there is no run that could be the parent.

        Args:
            config: The configuration at the moment at which the run is begun.
            level: What is told.
        """
        callbacks = config.get("callbacks")
        if level == "off" or not isinstance(callbacks, BaseCallbackManager):
            return None
        return cls(config, level=level) if callbacks.handlers and callbacks.parent_run_id is not None else None

    def emit(self, event: SandboxEvent) -> None:
        """Tell what an event begins and ends."""
        self._tell(self._runs.take(event))

    async def aemit(self, event: SandboxEvent) -> None:
        """As `emit`, in an event loop; LangChain calls handlers that are not asynchronous in threads."""
        await self._atell(self._runs.take(event))

    def close(self, error: BaseException | None) -> None:
        """End what is open still.

        Args:
            error: With what the run was left; `None` if it is over.
        """
        self._tell(self._runs.close(error))

    async def aclose(self, error: BaseException | None) -> None:
        """As `close`, in an event loop."""
        await self._atell(self._runs.close(error))

    def _tell(self, steps: Iterable[Begin | End]) -> None:
        for step in steps:
            try:
                if isinstance(step, End):
                    self._end(step)
                else:
                    self._begin(step)
            except Exception:  # a handler's own fault
                _logger.debug("A child run was not told", exc_info=True)

    async def _atell(self, steps: Iterable[Begin | End]) -> None:
        for step in steps:
            try:
                await _finish(self._aend(step) if isinstance(step, End) else self._abegin(step))
            except Exception:  # as above
                _logger.debug("A child run was not told", exc_info=True)

    def _begin(self, begin: Begin) -> None:
        if self._manager is None:
            self._manager = get_callback_manager_for_config(self._config)
        manager = _mark(self._manager, begin)
        run_id = uuid4()
        if begin.kind == "model":
            self._open[begin.key] = CallbackManagerForLLMRun(**_name(manager, run_id))
            manager.on_chat_model_start(*_ask(begin), run_id=run_id, **_describe(begin))
        else:
            self._open[begin.key] = CallbackManagerForToolRun(**_name(manager, run_id))
            manager.on_tool_start(*_use(begin), run_id=run_id, **_give(begin))

    async def _abegin(self, begin: Begin) -> None:
        if self._amanager is None:
            self._amanager = get_async_callback_manager_for_config(self._config)
        manager = _mark(self._amanager, begin)
        run_id = uuid4()
        if begin.kind == "model":
            self._open[begin.key] = AsyncCallbackManagerForLLMRun(**_name(manager, run_id))
            await manager.on_chat_model_start(*_ask(begin), run_id=run_id, **_describe(begin))
        else:
            self._open[begin.key] = AsyncCallbackManagerForToolRun(**_name(manager, run_id))
            await manager.on_tool_start(*_use(begin), run_id=run_id, **_give(begin))

    def _end(self, end: End) -> None:
        run = self._open.pop(end.key, None)
        if run is None:
            return
        match end:
            case End(kind="model", error=None):
                run.on_llm_end(build_result(end))
            case End(kind="model"):
                run.on_llm_error(end.error, response=build_result(end))
            case End(error=None):
                run.on_tool_end(_build_output(end))
            case _:
                run.on_tool_error(end.error)

    async def _aend(self, end: End) -> None:
        run = self._open.pop(end.key, None)
        if run is None:
            return
        match end:
            case End(kind="model", error=None):
                await run.on_llm_end(build_result(end))
            case End(kind="model"):
                await run.on_llm_error(end.error, response=build_result(end))
            case End(error=None):
                await run.on_tool_end(_build_output(end))
            case _:
                await run.on_tool_error(end.error)


def _mark(manager: _Manager, begin: Begin) -> _Manager:
    own = manager.copy()
    own.add_tags(TAGS, inherit=False)
    own.add_metadata(begin.metadata, inherit=False)
    return own


def _name(manager: BaseCallbackManager, run_id: UUID) -> dict[str, Any]:
    """A child run under a name that we know before anybody is told: it has to end even if telling it fails midway."""
    return {
        "run_id": run_id,
        "handlers": manager.handlers,
        "inheritable_handlers": manager.inheritable_handlers,
        "parent_run_id": manager.parent_run_id,
        "tags": manager.tags,
        "inheritable_tags": manager.inheritable_tags,
        "metadata": manager.metadata,
        "inheritable_metadata": manager.inheritable_metadata,
    }


async def _finish(telling: Coroutine[Any, Any, None]) -> None:
    """Tell all handlers even if the waiting task is cancelled meanwhile: a run that is told by half stays open."""
    task = asyncio.ensure_future(telling)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled() and not is_being_cancelled():
            return
        await asyncio.wait({task}, timeout=_PATIENCE)
        raise


def _ask(begin: Begin) -> tuple[dict[str, Any], list[list[Any]]]:
    identity = {"lc": 1, "type": "not_implemented", "id": ["langchain_sandbox", begin.name], "name": begin.name}
    return identity, [[build_message(spoken) for spoken in begin.content or []]]


def _describe(begin: Begin) -> dict[str, Any]:
    model = begin.metadata["ls_model_name"]
    return {"name": begin.name, "invocation_params": {"model": model, "_type": begin.metadata["ls_provider"]}}


def _use(begin: Begin) -> tuple[dict[str, Any], str]:
    return {"name": begin.name}, "" if begin.content is None else str(begin.content)


def _give(begin: Begin) -> dict[str, Any]:
    return {"name": begin.name, "inputs": begin.content or {}}


def _build_output(end: End) -> dict[str, Any]:
    return end.facts if end.content is None else {**end.facts, "output": end.content}


def build_result(end: End) -> LLMResult:
    """What a model call came to, as LangChain's handlers know it.

    Args:
        end: The call's end. Without what was said, its message is empty and has the tokens.
    """
    facts = dict(end.facts)
    asked, written = facts.pop("prompt_tokens", 0), facts.pop("completion_tokens", 0)
    message = build_answer(end.content or Spoken())
    message.usage_metadata = UsageMetadata(input_tokens=asked, output_tokens=written, total_tokens=asked + written)
    message.response_metadata = facts
    usage = {"prompt_tokens": asked, "completion_tokens": written, "total_tokens": asked + written}
    generation = ChatGeneration(message=message, generation_info={"finish_reason": facts.get("finish_reason")})
    return LLMResult(generations=[[generation]], llm_output={"token_usage": usage, **facts})
