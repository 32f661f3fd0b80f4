"""Which child runs a run's events make, and what may be said of each. Pure: events in, beginnings and ends out.

Names and reasons come from inside the container, or from the model, and could carry anything. So without `full` only
those are told that are known beforehand, and of all else that it is something else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from langchain_sandbox.untrusted import clean_json, clean_text

if TYPE_CHECKING:
    from langchain_sandbox.events import (
        FinishedEvent,
        ModelCallEvent,
        ModelCallStartedEvent,
        SandboxEvent,
        ToolEndedEvent,
        ToolStartedEvent,
    )
    from langchain_sandbox.gateway.contents import Contents

MODEL = "opencode"
"""What a model call's run is called."""
OTHER = "other"
"""Stands for a name that is not known beforehand."""
MAX_RUNS = 2_000
"""Child runs that one run may have; a container could have its host trace without end."""

# OpenCode's own tools; whatever else is called a tool in there, somebody inside has named.
_TOOLS = frozenset(
    [
        *("apply_patch", "bash", "batch", "codesearch", "edit", "glob", "grep", "invalid", "list", "lsp", "multiedit"),
        *("patch", "plan_enter", "plan_exit", "question", "read", "skill", "task", "todoread", "todowrite", "webfetch"),
        *("websearch", "write", "StructuredOutput"),
    ]
)
_REASONS = frozenset(["stop", "length", "tool_calls", "content_filter", "function_call"])
_CLIENT_ERROR = 400
_MAX_TEXT = 32 * 1024
_MAX_NAME = 100


class InnerRunError(Exception):
    """How a child run ended badly. By default its text is a code and nothing that was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A child run begins.

    Args:
        key: Names it until its end.
        kind: What it is.
        name: What it is called.
        metadata: What tracers are told beside.
        content: With `full`, what goes in: a request's messages, or a tool's arguments.
    """

    key: str
    kind: Literal["model", "tool"]
    name: str
    metadata: dict[str, Any]
    content: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A child run has ended.

    Args:
        key: Which one.
        kind: What it is.
        facts: What was seen of it, without what was said.
        content: With `full`, what came out: an answer, or what a tool printed.
        error: Why it ended, where that was not as it should be.
    """

    key: str
    kind: Literal["model", "tool"]
    facts: dict[str, Any] = field(default_factory=dict)
    content: Any = None
    error: BaseException | None = None


class InnerRuns:
    """Follows one run.

    Args:
        full: Whether what was said is told.
        contents: Where the model's share of that is collected.
    """

    def __init__(self, *, full: bool = False, contents: Contents | None = None) -> None:
        self._full = full
        self._contents = contents
        self._open: dict[str, Literal["model", "tool"]] = {}
        self._begun = 0
        self._uses = 0
        self._model = ""

    def take(self, event: SandboxEvent) -> list[Begin | End]:
        """What an event begins and ends."""
        match event.type:
            case "model_call_started":
                return self._begin(self._begin_model(event))
            case "model_call":
                return self._end(self._end_model(event))
            case "tool_started":
                return self._begin(self._begin_tool(event))
            case "tool_ended":
                return self._end(self._end_tool(event))
            case "finished":
                return self._end_all(event)
            case _:
                return []

    def close(self, error: BaseException | None = None) -> list[Begin | End]:
        """End what is open still, because nothing more will come.

        Args:
            error: Why, if it is one.
        """
        told = InnerRunError("unfinished") if error is None else describe_error(error)
        ends: list[Begin | End] = [End(key=key, kind=kind, error=told) for key, kind in self._open.items()]
        self._open.clear()
        return ends

    def _begin(self, begin: Begin) -> list[Begin | End]:
        if begin.key in self._open or self._begun >= MAX_RUNS:
            return []
        self._begun += 1
        self._open[begin.key] = begin.kind
        return [begin]

    def _end(self, end: End) -> list[Begin | End]:
        # The beginning of what is not open was dropped by a reader that slept, or there were too many.
        return [end] if self._open.pop(end.key, None) is not None else []

    def _end_all(self, event: FinishedEvent) -> list[Begin | End]:
        return self.close(InnerRunError(event.status)) if self._open else []

    def _begin_model(self, event: ModelCallStartedEvent) -> Begin:
        self._model = event.model
        metadata = {
            "ls_provider": event.provider,
            "ls_model_name": event.model,
            "ls_model_type": "chat",
            "sandbox_run_id": event.run_id,
            "sandbox_index": event.index,
            "sandbox_messages": event.messages,
            "sandbox_tools": event.tools,
        }
        content = self._contents.take_request(event.index) if self._contents is not None else None
        return Begin(key=f"model-{event.index}", kind="model", name=MODEL, metadata=metadata, content=content)

    def _end_model(self, event: ModelCallEvent) -> End:
        facts = {
            "model_name": self._model,
            "prompt_tokens": event.prompt_tokens,
            "completion_tokens": event.completion_tokens,
            "finish_reason": _tell_known(event.finish_reason, _REASONS),
            "status": event.status,
            "first_byte": event.first_byte,
            "duration": event.duration,
        }
        code = event.error or (f"http_{event.status}" if (event.status or 0) >= _CLIENT_ERROR else None)
        content = self._contents.take_answer(event.index) if self._contents is not None else None
        error = InnerRunError(code) if code else None
        return End(key=f"model-{event.index}", kind="model", facts=facts, content=content, error=error)

    def _begin_tool(self, event: ToolStartedEvent) -> Begin:
        index, self._uses = self._uses, self._uses + 1
        name = clean_text(event.tool, _MAX_NAME) if self._full else _tell_known(event.tool, _TOOLS)
        metadata = {"sandbox_run_id": event.run_id, "sandbox_index": index}
        content = clean_json(event.input) if self._full else None
        return Begin(key=f"tool-{event.call_id}", kind="tool", name=name or OTHER, metadata=metadata, content=content)

    def _end_tool(self, event: ToolEndedEvent) -> End:
        output = clean_text(event.output, _MAX_TEXT) if self._full else None
        error = InnerRunError(output or event.status) if event.status == "error" else None
        return End(
            key=f"tool-{event.call_id}", kind="tool", facts={"status": event.status}, content=output, error=error
        )


def describe_error(error: BaseException) -> BaseException:
    """What tracers are told of the error with which a run was left: of which kind it is, and nothing of its text.

    Args:
        error: The error.
    """
    if isinstance(error, InnerRunError):
        return error
    for kind in (asyncio.CancelledError, KeyboardInterrupt):
        if isinstance(error, kind):
            return kind("the run was cancelled")
    return InnerRunError(type(error).__name__)


def _tell_known(word: str | None, known: frozenset[str]) -> str | None:
    return word if word is None or word in known else OTHER
