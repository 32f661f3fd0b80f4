"""The part of a graph's state that a `SandboxNode` reads and writes. All of it is what checkpoints can hold."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - LangGraph reads the annotations when a graph is built
from typing import Annotated, Any, NotRequired

from langchain_core.messages import AnyMessage  # noqa: TC002 - as above
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict  # below Python 3.12 a graph can describe no other one to its clients


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


def add_results(there: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The reducer of `sandbox_results`: as `add_messages`, a result of a run that is there already takes its place.

    So a step that is taken again, a subgraph that gives back all that it was given, and a decision about a result
    double nothing.

    Args:
        there: The results that the state has.
        new: Those that are added.

    Example:
        ```python
        class State(TypedDict):
            sandbox_results: Annotated[list[dict[str, Any]], add_results]
        ```
    """
    merged = list(there)
    places = {each.get("run_id"): at for at, each in enumerate(merged)}
    for result in new:
        at = places.setdefault(result.get("run_id"), len(merged))
        merged[at : at + 1] = [result]
    return merged


class SandboxState(TypedDict):
    """A state to begin with; any other one that has the same keys, or some of them, does as well.

    Attributes:
        messages: The conversation. Where there is no `sandbox_task`, the last human message is the task.
        sandbox_task: The task. It stays until something else is written, `None` for nothing.
        sandbox_results: The results, as `SandboxResult.model_dump(mode="json")` gives them, in the order in which
            their steps were taken, each run's once. Nodes that work side by side add to it without getting into each
            other's way.

    Example:
        ```python
        class State(SandboxState):
            ticket: str
        ```
    """

    messages: Annotated[list[AnyMessage], add_messages]
    sandbox_task: NotRequired[str | SandboxTask | None]
    sandbox_results: Annotated[list[dict[str, Any]], add_results]


class SandboxInput(TypedDict, total=False):
    """What a graph of `create_sandbox_graph` takes from whoever calls it: no results, so that it gives back its own.

    Attributes:
        messages: As in `SandboxState`.
        sandbox_task: As in `SandboxState`.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    sandbox_task: str | SandboxTask | None


class SandboxOutput(TypedDict):
    """What such a graph gives back: no task, which several of them side by side could not all write.

    Attributes:
        messages: As in `SandboxState`.
        sandbox_results: As in `SandboxState`.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    sandbox_results: Annotated[list[dict[str, Any]], add_results]
