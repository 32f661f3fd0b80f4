"""Makes the graph of a sandbox, with or without a person who looks at the changes before they are applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langgraph.graph import START, StateGraph

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.graph.node import SandboxNode
from langchain_sandbox.graph.review_steps import ReviewState, ReviewSteps, RunStep, route
from langchain_sandbox.graph.state import SandboxInput, SandboxOutput, SandboxState
from langchain_sandbox.runs_once import DEFAULT_STORE
from langchain_sandbox.sandbox import Sandbox
from langchain_sandbox.workspace_config import ApplyPolicy, Workspace

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

    from langchain_sandbox.commands.command import Command
    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.run_store import RunStore


def create_sandbox_graph(  # noqa: PLR0913 - each is a choice that somebody has to make
    *,
    sandbox: Sandbox | None = None,
    command: str | Command | None = None,
    arguments: str | Mapping[str, Any] | None = None,
    output: object = None,
    changes: ChangesPolicy | None = None,
    timeout: float | None = None,
    workspaces: Mapping[str, Workspace | str | os.PathLike[str]] | None = None,
    store: RunStore | None = DEFAULT_STORE,
    session_ttl: float | None = None,
    review: bool = False,
    policy: ApplyPolicy | None = None,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    name: str = "sandbox",
) -> CompiledStateGraph[SandboxState, None, SandboxInput, SandboxOutput]:
    """A graph that hands a task to a sandbox, and with `review=True` asks a person before it applies the changes.

    It reads and writes what a `SandboxNode` does. It is a graph of its own, or a node of another one: then it takes
    that one's checkpointer, and gives back its own messages and results only.

    With `review=True` a run that completed and changed something is followed by an interrupt: its value is a
    `SandboxReview`, its answer a `SandboxDecision`. `accept` applies the changes; if they cannot be, the question comes
    again and says why. `reject` leaves the workspace alone. `changes` has another run go on from these changes with the
    person's comment, and asks again. What was decided is the result's `review`. The run and the applying happen once,
    however often and in whatever process the thread is resumed.

    Args:
        sandbox: As for `SandboxNode`, like the next ones.
        command: The command that it always runs.
        arguments: The command's.
        output: The typed answer that is wanted.
        changes: What becomes of the changes; with a review only `"review"`, which it is then by default.
        timeout: Seconds that a run may take.
        workspaces: Folders that a `SandboxTask` may pick from by their names.
        store: Where results are kept for steps that are taken again.
        session_ttl: Seconds that the thread's session waits for its next task. With a review, it ends when changes are
            rejected, or others asked for: its container would go on from them.
        review: Whether a person decides about the changes. It needs a checkpointer, the graph's or its parent's.
        policy: How accepted changes are applied.
        checkpointer: Where a graph that is no part of another one keeps its threads; a LangGraph server brings its own.
        name: The name of the graph and of its messages.

    Raises:
        SandboxConfigError: If an option cannot work.

    Example:
        ```python
        graph = create_sandbox_graph(sandbox=Sandbox(workspace="."), review=True, checkpointer=InMemorySaver())
        thread = {"configurable": {"thread_id": "1"}}
        state = graph.invoke({"sandbox_task": "Make the failing test pass."}, thread)
        print(state["__interrupt__"][0].value["patch"])
        state = graph.invoke(Command(resume={"type": "accept"}), thread)
        ```
    """
    if isinstance(checkpointer, bool):
        # With True, a graph that is a node of another one would keep its results and give them back each time.
        msg = "create_sandbox_graph(checkpointer=...) is a checkpointer; without one the graph takes its parent's."
        raise SandboxConfigError(msg)
    sandbox = sandbox or Sandbox()
    if review:
        _check_review(sandbox, changes, workspaces)
        changes = "review"
    elif policy is not None:
        msg = "create_sandbox_graph(policy=...) says how accepted changes are applied; it needs review=True."
        raise SandboxConfigError(msg)
    run = (RunStep if review else SandboxNode)(
        sandbox=sandbox,
        command=command,
        arguments=arguments,
        output=output,
        changes=changes,
        timeout=timeout,
        workspaces=workspaces,
        store=store,
        session_ttl=session_ttl,
        name=name,
    )
    graph = StateGraph(SandboxState, input_schema=SandboxInput, output_schema=SandboxOutput)
    graph.add_node("run", run, input_schema=ReviewState)
    graph.add_edge(START, "run")
    if review:
        steps = ReviewSteps(sandbox=sandbox, policy=policy or ApplyPolicy(), name=name)
        graph.add_node("review", steps.review)
        graph.add_node("apply", steps.apply)
        graph.add_conditional_edges("run", route)
    return graph.compile(checkpointer=checkpointer, name=name)


def _check_review(
    sandbox: Sandbox,
    changes: ChangesPolicy | None,
    workspaces: Mapping[str, Workspace | str | os.PathLike[str]] | None,
) -> None:
    """See that there can be something to decide."""
    if changes not in {None, "review"}:
        msg = f"create_sandbox_graph(review=True) has a person decide about changes, so changes={changes!r} cannot be."
        raise SandboxConfigError(msg)
    if sandbox.workspace is None and not workspaces:
        msg = "create_sandbox_graph(review=True) needs a place to apply to: Sandbox(workspace=...) or workspaces=..."
        raise SandboxConfigError(msg)
    for workspace in (sandbox.workspace, *(workspaces or {}).values()):
        if workspace is not None and Workspace.of(workspace).mode == "bind":
            msg = (
                'With Workspace(mode="bind") the agent works in the folder itself, so nobody can review its changes '
                'before they are there; use Workspace(mode="copy").'
            )
            raise SandboxConfigError(msg)
