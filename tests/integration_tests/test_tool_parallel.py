"""Two tools called in one message: neither waits for the other, and nothing of the one is told as the other's."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import answers, asked, call, calling_model, calls, tool_graph
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from support import bash, say

from langchain_sandbox import Sandbox, SandboxTool
from langchain_sandbox.testing import ScriptedModel

NAMES = ("first", "second")
MEETING = 120.0

CALLS = [call(name, call_id=f"call-{name}", task=f"Be the {name}.") for name in NAMES]


def meet(name: str, barrier: threading.Barrier) -> Callable[[list], dict]:
    """A script whose run goes on only when the other's has come as far: if one had to wait, both would fail."""

    def answer(messages: list) -> dict:
        done = sum(message["role"] == "tool" for message in messages)
        barrier.wait(MEETING)
        return [bash(f"echo {name} > {name}.txt; echo I am {name}"), say(f"I was {name}.")][done]

    return answer


@pytest.fixture
def tools(repository: Path) -> Iterator[list[SandboxTool]]:
    barrier = threading.Barrier(len(NAMES))
    with ScriptedModel(meet("first", barrier)) as first, ScriptedModel(meet("second", barrier)) as second:
        yield [
            SandboxTool(name=name, sandbox=Sandbox(model=model.endpoint, workspace=repository))
            for name, model in zip(NAMES, (first, second), strict=True)
        ]
        assert (first.errors, second.errors) == ([], [])


def stream(graph: Any, given: dict, way: str) -> list:
    modes = ["custom", "tools", "values"]
    if way == "sync":
        return list(graph.stream(given, stream_mode=modes))

    async def scenario() -> list:
        return [part async for part in graph.astream(given, stream_mode=modes)]

    return asyncio.run(scenario())


def check(parts: list) -> None:
    messages = answers([part for mode, part in parts if mode == "values"][-1])
    custom, deltas = defaultdict(list), defaultdict(list)
    for mode, part in parts:
        if mode == "custom":
            custom[part["tool_call_id"]].append(part["sandbox"])
        elif mode == "tools" and part["event"] == "tool-output-delta":
            deltas[part["tool_call_id"]].append(part["delta"])
    assert set(custom) == set(deltas) == set(messages) == {f"call-{name}" for name in NAMES}
    for name in NAMES:
        message, events = messages[f"call-{name}"], custom[f"call-{name}"]
        assert message.status == "success", message.content
        assert [file["path"] for file in message.artifact["files"]] == [f"{name}.txt"]
        assert {event["run_id"] for event in events} == {message.artifact["run_id"]}
        assert [event["output"] for event in events if event["type"] == "tool_ended"] == [f"I am {name}\n"]
        assert events[0]["type"] == "started"
        assert events[-1]["type"] == "finished"
        assert deltas[f"call-{name}"] == events


@pytest.mark.parametrize("way", ["sync", "async"])
def test_in_a_tool_node(tools: list[SandboxTool], way: str) -> None:
    check(stream(tool_graph(tools), asked(*CALLS), way))


@pytest.mark.parametrize("way", ["sync", "async"])
def test_in_an_agent(tools: list[SandboxTool], way: str) -> None:
    with calling_model(calls(*CALLS), say("Both did.")) as chat:
        check(stream(create_agent(chat, tools=tools), {"messages": [HumanMessage("Be both.")]}, way))
