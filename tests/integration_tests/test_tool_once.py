"""A tool in a step that is taken again: the call that has been answered is not run again, the next one is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agents import answers, asked, call
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy
from support import say

from langchain_sandbox import Sandbox, SandboxTool
from langchain_sandbox.testing import ScriptedModel


def make_graph(tool: SandboxTool) -> Any:
    """Tools, in a step whose first attempt fails when the tools are done."""
    tools = ToolNode([tool])
    attempts: list[int] = []

    def fail_first() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            msg = "the network was away for a moment"
            raise ConnectionError(msg)

    def step(state: MessagesState) -> Any:
        update = tools.invoke(state)
        fail_first()
        return update

    async def astep(state: MessagesState) -> Any:
        update = await tools.ainvoke(state)
        fail_first()
        return update

    graph = StateGraph(MessagesState)
    retry = RetryPolicy(initial_interval=0.01, max_attempts=2)
    graph.add_node("tools", RunnableLambda(step, astep), retry_policy=retry)
    graph.add_edge(START, "tools")
    return graph.compile()


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_retry_does_not_repeat_the_calls_of_its_step(way: str, repository: Path) -> None:
    question = asked(call("run_in_sandbox", task="One."), call("run_in_sandbox", call_id="call-2", task="One."))
    with ScriptedModel(lambda _messages: say("Done.")) as model:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        graph = make_graph(tool)

        def run() -> dict[str, Any]:
            return graph.invoke(question) if way == "sync" else asyncio.run(graph.ainvoke(question))

        first = answers(run())
        assert len(model.requests) == 2
        again = answers(run())  # the same ids, but another step
        assert len(model.requests) == 4
    runs = {message.artifact["run_id"] for message in [*first.values(), *again.values()]}
    assert len(runs) == 4


def test_without_a_store_each_attempt_is_a_run(repository: Path) -> None:
    with ScriptedModel(lambda _messages: say("Done.")) as model:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository), store=None)
        make_graph(tool).invoke(asked(call("run_in_sandbox", task="One.")))
        assert len(model.requests) == 2
