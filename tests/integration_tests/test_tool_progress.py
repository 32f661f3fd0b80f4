"""A run's events where an agent's users look for them: callbacks, `astream_events`, and the third version of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import answers, call, calling_model, calls
from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langgraph.stream.transformers import CustomTransformer
from support import bash, say

from langchain_sandbox import Sandbox, SandboxTool
from langchain_sandbox.testing import ScriptedModel

QUESTION = {"messages": [HumanMessage("Please have it looked at.")]}

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")


@pytest.fixture
def agent(repository: Path) -> Iterator[Any]:
    with (
        ScriptedModel([bash("echo hello"), say("Looked.")]) as inner,
        calling_model(calls(call("run_in_sandbox", task="Look.")), say("It is done.")) as chat,
    ):
        yield create_agent(chat, tools=[SandboxTool(sandbox=Sandbox(model=inner.endpoint, workspace=repository))])


def check(events: list[dict]) -> None:
    """One whole run, in order."""
    types = [event["type"] for event in events]
    assert types[0] == "started"
    assert types[-1] == "finished"
    assert types.index("tool_started") < types.index("tool_ended") < types.index("finished")
    assert len({event["run_id"] for event in events}) == 1
    assert [event["output"] for event in events if event["type"] == "tool_ended"] == ["hello\n"]


def test_astream_events(agent: Any) -> None:
    async def scenario() -> list:
        with blockbuster_ctx("langchain_sandbox"):
            return [part async for part in agent.astream_events(QUESTION, version="v2")]

    found = [part for part in asyncio.run(scenario()) if part["event"] == "on_custom_event"]
    assert {part["name"] for part in found} == {"sandbox_event"}
    assert {part["data"]["tool_call_id"] for part in found} == {"call-1"}
    check([part["data"]["sandbox"] for part in found])


def test_stream_events_v3(agent: Any) -> None:
    run = agent.stream_events(QUESTION, version="v3", transformers=[CustomTransformer])
    parts = list(run)
    custom = [part["params"]["data"] for part in parts if part["method"] == "custom"]
    check([payload["sandbox"] for payload in custom])
    deltas = [part["params"]["data"] for part in parts if part["method"] == "tools"]
    check([delta["delta"] for delta in deltas if delta["event"] == "tool-output-delta"])
    assert {delta["tool_call_id"] for delta in deltas} == {"call-1"}
    assert answers(run.output)["call-1"].status == "success"


def test_stream_events_v3_has_each_call_with_its_deltas(agent: Any) -> None:
    """`create_agent` brings the transformer for that itself."""

    async def scenario() -> list:
        run = await agent.astream_events(QUESTION, version="v3")
        return [(each.tool_name, each.tool_call_id, [delta async for delta in each]) async for each in run.tool_calls]

    ((name, call_id, deltas),) = asyncio.run(scenario())
    assert (name, call_id) == ("run_in_sandbox", "call-1")
    check(deltas)


def test_a_callback_handler_without_any_graph(repository: Path) -> None:
    class Watcher(BaseCallbackHandler):
        def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
            assert name == "sandbox_event"
            seen.append(data["sandbox"])

    seen: list[dict] = []
    with ScriptedModel(lambda messages: say() if messages[-1]["role"] == "tool" else bash("echo hello")) as model:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        tool.invoke({"task": "Look."}, {"callbacks": [Watcher()]})
        check(seen)
        seen.clear()
        asyncio.run(tool.ainvoke({"task": "Look."}, {"callbacks": [Watcher()]}))
        check(seen)
