"""End a run that is silent for too long, and leave one alone that works: `TimeoutPolicy`.

Each event of a run is a heartbeat of its node, so `idle_timeout` bounds the silence: leave it well above the seconds
that a container takes to boot, and above what the model takes to begin an answer. How long a run may take in all is the
sandbox's own `timeout`: such a run is a result with the status `timeout`, and with what was changed until then, while
LangGraph's `run_timeout` raises and there is no result. Node time-outs need the graph to be awaited.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import ExitStack
from typing import Any

from langgraph.errors import NodeTimeoutError
from langgraph.graph import START, StateGraph
from langgraph.types import TimeoutPolicy

from langchain_sandbox import ModelEndpoint, Sandbox, SandboxNode, SandboxState
from langchain_sandbox.testing import ScriptedModel, Turn

IDLE = 15.0
WORKS = "Run `sleep 4` four times, each in a command of its own. Then say that all is done."
STEPS = 4
HANGS = "Run `sleep 3600`."


async def main() -> int:
    """Give a task that works and one that hangs; the exit code is 0 if the first outlives the limit, the second not."""
    with ExitStack() as stack:
        app = build_graph(SandboxNode(sandbox=Sandbox(model=choose_model(stack))))

        result = (await app.ainvoke({"sandbox_task": WORKS}))["sandbox_results"][-1]
        outlived = result["timings"]["total"] > IDLE
        words = "more" if outlived else "less"
        print(f"[sandbox] {result['status']}: {result['text']} It took {words} than {IDLE:g} s.")

        try:
            await app.ainvoke({"sandbox_task": HANGS})
        except NodeTimeoutError as error:
            print(f"[graph]   ended: silent for {error.idle_timeout:g} s")
            return 0 if result["ok"] and outlived else 1
    return 1


def build_graph(node: SandboxNode) -> Any:  # noqa: ANN401 - LangGraph's type has four parameters
    """One node that may not be silent for too long."""
    graph = StateGraph(SandboxState)
    graph.add_node("sandbox", node, timeout=TimeoutPolicy(idle_timeout=IDLE))
    graph.add_edge(START, "sandbox")
    return graph.compile()


def choose_model(stack: ExitStack) -> ModelEndpoint:
    """Your server, or a stand-in where there is none."""
    if os.environ.get("SANDBOX_MODEL_BASE_URL"):
        return ModelEndpoint.from_env()
    return stack.enter_context(ScriptedModel(play_coder)).endpoint


def play_coder(messages: list[dict[str, Any]]) -> Turn:
    """A coder that does as it is told."""
    if HANGS in str(messages):
        command = "sleep 3600"
    elif sum(message["role"] == "tool" for message in messages) < STEPS:
        command = "sleep 4"
    else:
        return {"text": "All is done."}
    return {"tool_calls": [{"name": "bash", "arguments": {"command": command, "description": "Sleep"}}]}


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
