"""RetryPolicy: try again when the engine is away, and not when trying again cannot help.

A run that was tried is a result, however it ended; the node raises only what kept it from being tried. LangGraph's
`RetryPolicy()` fits that as it is: it tries again on a `SandboxUnavailableError`, and leaves a `SandboxConfigError`
alone. Each attempt is the same step of the graph, so that a run which is over is never repeated.

Here the engine is away at first, and comes back after the first attempt.
"""

from __future__ import annotations

import os

from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy
from recipe import choose_model, make_repository, show

from langchain_sandbox import Sandbox, SandboxConfigError, SandboxNode, SandboxState, SandboxUnavailableError


def main() -> None:
    """Run the recipe."""
    engine = os.environ.get("DOCKER_HOST")

    def is_worth_another_attempt(error: Exception) -> bool:
        print(f"{type(error).__name__}: {error}")
        bring_back(engine)
        return isinstance(error, SandboxUnavailableError)  # as RetryPolicy decides by itself; this one also prints

    with choose_model([{"text": "The greeting is fine."}]) as model, make_repository() as repository:
        node = SandboxNode(sandbox=Sandbox(model=model, workspace=repository))
        retry = RetryPolicy(max_attempts=3, initial_interval=0.5, retry_on=is_worth_another_attempt)
        graph = StateGraph(SandboxState)
        graph.add_node("sandbox", node, retry_policy=retry)
        graph.add_edge(START, "sandbox")
        app = graph.compile()

        print("\nThe engine is away, and comes back:")
        os.environ["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
        state = app.invoke({"messages": [HumanMessage("Is the greeting fine?")]})
        show(state["sandbox_results"][-1])

        print("\nA task that cannot work is not tried again:")
        try:
            app.invoke({"sandbox_task": " "})
        except SandboxConfigError:
            print("The graph has ended with this error at the first attempt.")


def bring_back(engine: str | None) -> None:
    """Let the engine be where it was."""
    if engine is None:
        os.environ.pop("DOCKER_HOST", None)
    else:
        os.environ["DOCKER_HOST"] = engine


if __name__ == "__main__":
    main()
