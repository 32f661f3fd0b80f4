"""Carries a run's events to whoever watches the graph or the agent in which the run was begun.

LangGraph and LangChain have four ways to watch, and each finds its watchers through context variables:

- `stream_mode="custom"` and `stream_events(version="v3")` with a `CustomTransformer`: LangGraph's stream writer;
- `stream_mode="tools"` and v3's `run.tool_calls`: the writer that belongs to one tool call;
- `astream_events` and callback handlers: LangChain's custom events, named `sandbox_event`;
- a node's idle time-out: LangGraph's heartbeat.

Tracers see more than events: each model call and each tool in the sandbox is a run of its own, a child of the run
that has begun it.

A thread of its own, or a callback from another loop, has none of these variables. So they are kept from the moment
at which the run was begun, and events may come from anywhere.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables.config import ensure_config
from langgraph.config import get_stream_writer
from langgraph.runtime import get_runtime

from langchain_sandbox.cancelling import is_being_cancelled
from langchain_sandbox.trace.inner_trace import InnerTrace

if TYPE_CHECKING:
    from collections.abc import Callable

    from langgraph.prebuilt import ToolRuntime

    from langchain_sandbox.config import TraceLevel
    from langchain_sandbox.events import SandboxEvent
    from langchain_sandbox.gateway.contents import Contents

EVENT_NAME = "sandbox_event"
"""What the events are called among LangChain's custom events."""

_logger = logging.getLogger(__name__)


class Progress:
    """Where one run's events go. Make it in the node or tool that begins the run; then use it from any thread.

    Watchers get `{"sandbox": event, "tool_call_id": id}`, where `event` is the event as plain JSON data with the run's
    `run_id`; the deltas of `stream_mode="tools"`, which are kept by call already, are the event alone. Where nobody
    watches, and where there is no graph at all, nothing happens. A watcher that fails never ends the run.

    As a context manager, of either kind, it also has tracers see what happens inside. When the block is left, whatever
    has not ended there ends in the trace, with the error with which it is left.

    Args:
        tool_call_id: The tool call that the run answers; `None` for a node's run.
        runtime: What LangGraph has injected into the tool; without it there are no `stream_mode="tools"` deltas.
        trace: What tracers are told of model calls and tools, as for `Sandbox`.

    Example:
        ```python
        with Progress() as progress, sandbox.start("Fix the failing test.") as handle:
            for event in handle.events():
                progress.emit(event)
            result = handle.result()
        ```
    """

    def __init__(
        self,
        *,
        tool_call_id: str | None = None,
        runtime: ToolRuntime[Any, Any] | None = None,
        trace: TraceLevel = "metadata",
    ) -> None:
        self._tool_call_id = tool_call_id
        self._runtime = runtime
        self._context = copy_context()
        self._config = ensure_config()
        self._level = trace
        self._trace: InnerTrace | None = None

    def __enter__(self) -> Self:
        self._trace = InnerTrace.open(self._config, level=self._level)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        trace, self._trace = self._trace, None
        if trace is not None:
            self._attempt(trace.close, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        trace, self._trace = self._trace, None
        if trace is not None:
            await trace.aclose(error)

    @property
    def contents(self) -> Contents | None:
        """Where the run is to collect what is said to the model and by it; `None` where nobody is to know."""
        return self._trace.contents if self._trace is not None else None

    def emit(self, event: SandboxEvent) -> None:
        """Pass an event on. Never raises, and waits for nobody but callback handlers.

        In an event loop use `aemit`: LangChain calls asynchronous handlers from here in a loop of their own.
        """
        payload = self._pack(event)
        self._write(payload)
        self._attempt(dispatch_custom_event, EVENT_NAME, payload, config=self._config)
        if self._trace is not None:
            self._attempt(self._trace.emit, event)

    async def aemit(self, event: SandboxEvent) -> None:
        """As `emit`, in an event loop."""
        payload = self._pack(event)
        self._write(payload)
        try:
            await adispatch_custom_event(EVENT_NAME, payload, config=self._config)
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            _logger.debug("A handler was cancelled, not the run", exc_info=True)
        except Exception:
            _logger.debug("An event was not dispatched", exc_info=True)
        if self._trace is not None:
            await self._trace.aemit(event)

    def _pack(self, event: SandboxEvent) -> dict[str, Any]:
        return {"sandbox": event.model_dump(mode="json"), "tool_call_id": self._tool_call_id}

    def _write(self, payload: dict[str, Any]) -> None:
        self._attempt(lambda: get_stream_writer()(payload))
        self._attempt(lambda: get_runtime().heartbeat())
        if self._runtime is not None:
            self._attempt(self._runtime.emit_output_delta, payload["sandbox"])

    def _attempt(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - any call
        try:
            # A copy each time: a context can be entered by one thread only.
            self._context.copy().run(call, *args, **kwargs)
        except Exception:  # nobody watches, or the watcher failed; the run goes on either way
            _logger.debug("An event was not passed on", exc_info=True)
