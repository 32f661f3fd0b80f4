"""TimeoutPolicy: end a run that says nothing for too long, and leave one alone that works.

Each event of a run is a heartbeat of its node. So `idle_timeout` bounds the silence: leave it well above what a
container takes to boot (seconds) and what the model takes to begin an answer. How long a run may take in all is the
sandbox's own `timeout`: such a run is a result with the status `timeout` and what was changed until then, while
LangGraph's `run_timeout` raises and has no result. Node time-outs need an asynchronous call.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage
from langgraph.errors import NodeTimeoutError
from langgraph.graph import START, StateGraph
from langgraph.types import TimeoutPolicy
from recipe import choose_model, make_repository, run, show

from langchain_sandbox import Sandbox, SandboxNode, SandboxState

if TYPE_CHECKING:
    from langchain_sandbox.testing import Turn

IDLE = 15.0
STEPS = 4

WORKS: list[Turn] = [*(run(f"sleep 5; echo step {number}") for number in range(STEPS)), {"text": "All steps done."}]
HANGS: list[Turn] = [run("sleep 3600")]


async def main() -> None:
    """Run the recipe."""
    ask: Any = {"messages": [HumanMessage("Work through all steps.")]}
    with choose_model(WORKS + HANGS) as model, make_repository() as repository:
        app = build_graph(Sandbox(model=model, workspace=repository))

        print(f"\nMore than {IDLE:g} s of work, but never silent for so long:")
        state = await app.ainvoke(ask)
        result = state["sandbox_results"][-1]
        show(result)
        print(f"It took {result['timings']['total']:.0f} s.")

        print(f"\nA command that does not come back, with a time-out of {IDLE:g} s:")
        try:
            show((await app.ainvoke(ask))["sandbox_results"][-1])
        except NodeTimeoutError as error:
            print(f"{error} Its container goes with it.")


def build_graph(sandbox: Sandbox) -> Any:  # noqa: ANN401 - LangGraph's type has four parameters
    """One node that may be silent for so long, and takes as long as it likes otherwise."""
    graph = StateGraph(SandboxState)
    graph.add_node("sandbox", SandboxNode(sandbox=sandbox), timeout=TimeoutPolicy(idle_timeout=IDLE))
    graph.add_edge(START, "sandbox")
    return graph.compile()


if __name__ == "__main__":
    asyncio.run(main())
