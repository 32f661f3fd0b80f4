"""The part of a graph's state that a `SandboxNode` reads and writes. All of it is what checkpoints can hold."""

from __future__ import annotations

import operator
from collections.abc import Mapping  # noqa: TC003 - LangGraph reads the annotations when a graph is built
from typing import Annotated, Any, NotRequired, TypedDict

from langchain_core.messages import AnyMessage  # noqa: TC002 - as above
from langgraph.graph.message import add_messages


class SandboxTask(TypedDict, total=False):
    """What a graph may ask of a `SandboxNode`. Everything else is the node's own: a state may hold a model's words.

    Attributes:
        task: What the agent should do, in plain words.
        command: The name of a command, in place of a task.
        arguments: The command's, by name, or as a person would write them behind its name.
        workspace: The name of one of the node's `workspaces`.
    """

    task: str
    command: str
    arguments: str | Mapping[str, Any]
    workspace: str


class SandboxState(TypedDict):
    """A state to begin with; any other one that has the same keys, or some of them, does as well.

    Attributes:
        messages: The conversation. Where there is no `sandbox_task`, the last human message is the task.
        sandbox_task: The task. It stays until something else is written, `None` for nothing.
        sandbox_results: The results, as `SandboxResult.model_dump(mode="json")` gives them, in the order in which
            their steps were taken. Nodes that work side by side add to it without getting into each other's way.

    Example:
        ```python
        class State(SandboxState):
            ticket: str
        ```
    """

    messages: Annotated[list[AnyMessage], add_messages]
    sandbox_task: NotRequired[str | SandboxTask | None]
    sandbox_results: Annotated[list[dict[str, Any]], operator.add]
