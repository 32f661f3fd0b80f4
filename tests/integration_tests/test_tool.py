"""The tool in real graphs: its message, its artifact, its progress, and what it does when something is missing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from support import bash, containers, say, write

from langchain_sandbox import Sandbox, SandboxResult, SandboxTool, SandboxUnavailableError
from langchain_sandbox.testing import ScriptedModel

SCRIPT = [bash("ls"), write("new.txt", "x\n"), say("Wrote it.\x1b[31m\u202e")]


def build_graph(tool: SandboxTool) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "tools")
    return graph.compile()


def call(**arguments: Any) -> dict:
    calls = [{"name": "run_in_sandbox", "args": arguments, "id": "call-1", "type": "tool_call"}]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def test_in_a_graph_the_message_is_for_the_model_and_the_artifact_for_the_program(repository: Path) -> None:
    with ScriptedModel(SCRIPT) as model:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        parts = list(build_graph(tool).stream(call(task="Write."), stream_mode=["custom", "values"]))
    progress = [part["sandbox"]["type"] for mode, part in parts if mode == "custom"]
    assert progress[0] == "started"
    assert progress[-1] == "finished"
    assert "tool_started" in progress
    message = parts[-1][1]["messages"][-1]
    assert isinstance(message, ToolMessage)
    assert message.status == "success"
    assert message.tool_call_id == "call-1"
    assert "Wrote it." in message.content
    assert "added new.txt (+1 -0)" in message.content
    assert "not applied" in message.content
    assert "\x1b" not in message.content
    assert "\u202e" not in message.content
    result = SandboxResult.model_validate(message.artifact)
    assert result.ok
    assert message.artifact == result.model_dump(mode="json")


def test_async_it_never_blocks_the_loop(repository: Path) -> None:
    async def scenario() -> list[Any]:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        graph = build_graph(tool)
        with blockbuster_ctx("langchain_sandbox"):
            return [part async for part in graph.astream(call(task="Write."), stream_mode=["custom", "values"])]

    with ScriptedModel(SCRIPT) as model:
        parts = asyncio.run(scenario())
    assert [part["sandbox"]["type"] for mode, part in parts if mode == "custom"][-1] == "finished"
    assert parts[-1][1]["messages"][-1].artifact["ok"]


def test_a_run_that_ends_badly_is_an_error_message_with_its_artifact(repository: Path) -> None:
    with ScriptedModel([{"text": ["half"], "fault": "cut"}]) as model:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        state = build_graph(tool).invoke(call(task="Write."))
    message = state["messages"][-1]
    assert message.status == "error"
    assert message.artifact["status"] == "model_error"
    assert message.artifact["ending"]["code"] == "answer_cut"
    assert "model_error" in message.content


@pytest.mark.parametrize("task", ["", "a\0b"])
def test_a_task_that_cannot_be_is_an_error_message_too(repository: Path, task: str) -> None:
    with ScriptedModel([]) as model:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        message = build_graph(tool).invoke(call(task=task))["messages"][-1]
    assert message.status == "error"
    assert message.artifact == {"ok": False, "error": "SandboxConfigError", "message": message.artifact["message"]}


def test_a_missing_engine_is_an_error_message_from_the_tool_and_raised_by_the_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with ScriptedModel([]) as model:
        sandbox = Sandbox(model=model.endpoint)
        message = build_graph(SandboxTool(sandbox=sandbox)).invoke(call(task="Write."))["messages"][-1]
        with pytest.raises(SandboxUnavailableError, match=r"No container engine answers at unix://.*none\.sock"):
            sandbox.run("Write.")
    assert message.status == "error"
    assert "No container engine answers" in message.content


def test_a_missing_image_says_how_to_get_it() -> None:
    with ScriptedModel([]) as model:
        sandbox = Sandbox(model=model.endpoint, image="no-such-image:1")
        with pytest.raises(SandboxUnavailableError, match="no-such-image:1 is not on this engine"):
            sandbox.run("Write.")


def test_plain_invoke_sync_and_async(repository: Path) -> None:
    with ScriptedModel(lambda _messages: say("Done.")) as model:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        assert "Done." in tool.invoke({"task": "Nothing."})
        assert "Done." in asyncio.run(tool.ainvoke({"task": "Nothing."}))


def test_forged_arguments_never_reach_the_run(repository: Path) -> None:
    with ScriptedModel([]) as model:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        forged = {"task": "x", "workspace": "/", "image": "evil", "tool_call_id": "forged"}
        message = build_graph(tool).invoke(call(**forged))["messages"][-1]
        assert model.requests == []
    assert message.status == "error"
    assert message.tool_call_id == "call-1"


def test_a_cancelled_graph_leaves_no_container(repository: Path, client: Any) -> None:
    async def scenario() -> None:
        tool = SandboxTool(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        async for _, part in build_graph(tool).astream(call(task="Work."), stream_mode=["custom"]):
            if part["sandbox"]["type"] == "tool_started":
                break

    def answer(_messages: list) -> dict:
        return bash("sleep 600")

    with ScriptedModel(answer) as model:
        asyncio.run(scenario())
    assert containers(client) == []
