"""What a run is doing at this moment: what every live display shows, made from the run's events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_sandbox.narration import narrate, narrate_call

if TYPE_CHECKING:
    from langchain_sandbox.events import SandboxEvent


def describe_event(event: SandboxEvent | Mapping[str, Any]) -> str:
    """An event in one line, without anything that could steer a terminal; nothing for what is no news.

    Args:
        event: An event, or one as plain data, as a graph's custom stream has it.

    Example:
        ```python
        for event in sandbox.stream("Fix the failing test."):
            print(describe_event(event))
        ```
    """
    fields = event if isinstance(event, Mapping) else dict(event)
    return narrate(fields["type"], fields)


class Activity:
    """Follows one run.

    Attributes:
        now: What the agent does at this moment, in one line.
        at: Seconds from the run's beginning to its last event.
        steps: Steps that are over.
        tools: Calls of tools that were begun.
        model_calls: Calls of the model that are over.
        prompt_tokens: Tokens that the model has read in them.
        completion_tokens: Tokens that it has written in them.
    """

    def __init__(self) -> None:
        self.now = "prepares"
        self.at = 0.0
        self.steps = 0
        self.tools = 0
        self.model_calls = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._running: dict[str, str] = {}

    def update(self, event: SandboxEvent) -> None:
        """Take the next event."""
        self.at = event.at
        match event.type:
            case "started":
                self.now = "boots"
            case "text":
                self.now = "writes"
            case "tool_started":
                self.tools += 1
                self.now = self._running[event.call_id] = narrate_call(event.tool, event.input)
            case "tool_ended":
                self._running.pop(event.call_id, None)
                self.now = next(iter(self._running.values()), "thinks")
            case "model_call_started":
                self.now = next(iter(self._running.values()), "thinks")
            case "model_call":
                self.model_calls += 1
                self.prompt_tokens += event.prompt_tokens
                self.completion_tokens += event.completion_tokens
                self.now = "thinks" if self.now == "boots" else self.now
            case "step":
                self.steps += 1
                self.now = "thinks"
            case "finished":
                self.now = event.status
            case _:
                pass
