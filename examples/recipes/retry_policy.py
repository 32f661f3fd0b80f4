"""Try again when the engine is away, and not when trying again cannot help: `RetryPolicy`.

A run that was tried is a result, however it ended; the node raises only what kept it from being tried. LangGraph's
`RetryPolicy()` fits that as it is: it tries again on a `SandboxUnavailableError`, and leaves a `SandboxConfigError`
alone. Each attempt is the same step of the graph, so a run that is over is never repeated.

Here the engine is away at first, and comes back after the first attempt.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy

from langchain_sandbox import (
    ModelEndpoint,
    Sandbox,
    SandboxConfigError,
    SandboxNode,
    SandboxState,
    SandboxUnavailableError,
)
from langchain_sandbox.testing import ScriptedModel, Turn

SCRIPT: list[Turn] = [{"text": "Three primes are below 6: 2, 3 and 5."}]


def main() -> int:
    """Ask twice, once for what cannot work; the exit code is 0 if the other one succeeded."""
    engine = os.environ.get("DOCKER_HOST")

    def is_worth_another_attempt(error: Exception) -> bool:
        print(f"[attempt] {type(error).__name__}: {str(error).partition(' (')[0]}")
        bring_back(engine)
        return isinstance(error, SandboxUnavailableError)  # RetryPolicy() decides the same; this one prints, too

    with ExitStack() as stack:
        node = SandboxNode(sandbox=Sandbox(model=choose_model(stack)))
        app = build_graph(node, RetryPolicy(initial_interval=0.5, retry_on=is_worth_another_attempt))

        os.environ["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
        state = app.invoke({"messages": [HumanMessage("How many primes are below 6?")]})
        result = state["sandbox_results"][-1]
        print(f"[sandbox] {result['status']}: {result['text']}")

        try:
            app.invoke({"sandbox_task": " "})
        except SandboxConfigError:
            print("[graph]   ended by that error, at the first attempt")
    return 0 if result["ok"] else 1


def build_graph(node: SandboxNode, retry: RetryPolicy) -> Any:  # noqa: ANN401 - LangGraph's type has four parameters
    """One node, which is tried again."""
    graph = StateGraph(SandboxState)
    graph.add_node("sandbox", node, retry_policy=retry)
    graph.add_edge(START, "sandbox")
    return graph.compile()


def bring_back(engine: str | None) -> None:
    """Let the engine be where it was."""
    if engine is None:
        os.environ.pop("DOCKER_HOST", None)
    else:
        os.environ["DOCKER_HOST"] = engine


def choose_model(stack: ExitStack) -> ModelEndpoint:
    """Your server, or a stand-in where there is none."""
    if os.environ.get("SANDBOX_MODEL_BASE_URL"):
        return ModelEndpoint.from_env()
    return stack.enter_context(ScriptedModel(SCRIPT)).endpoint


if __name__ == "__main__":
    sys.exit(main())
