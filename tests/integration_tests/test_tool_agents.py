"""The tool in agents as users build them: answers, forged arguments, cancelling, and checkpoints."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
import pytest
from agents import answers, call, calling_model, calls, wait_for
from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.prebuilt import create_react_agent
from pydantic import BaseModel
from support import bash, containers, say, wait_until, write

from langchain_sandbox import Sandbox, SandboxResult, SandboxTool
from langchain_sandbox.testing import ScriptedModel

QUESTION = {"messages": [HumanMessage("Please have it written.")]}
MAKERS = [
    pytest.param(create_agent, id="create_agent"),
    pytest.param(
        create_react_agent,
        id="create_react_agent",
        marks=pytest.mark.filterwarnings("ignore:create_react_agent has been moved"),
    ),
]


def run(agent: Any, way: str) -> dict:
    if way == "sync":
        return agent.invoke(QUESTION)

    async def scenario() -> dict:
        with blockbuster_ctx("langchain_sandbox"):
            return await agent.ainvoke(QUESTION)

    return asyncio.run(scenario())


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("make", MAKERS)
def test_an_agent_hands_over_a_task_and_gets_the_answer(make: Any, way: str, repository: Path) -> None:
    with (
        ScriptedModel([write("new.txt", "x\n"), say("Wrote it.")]) as inner,
        calling_model(calls(call("run_in_sandbox", task="Write.", files=["README.md"])), say("It is done.")) as chat,
    ):
        tool = SandboxTool(sandbox=Sandbox(model=inner.endpoint, workspace=repository))
        state = run(make(chat, tools=[tool]), way)
        prompt = next(str(message["content"]) for message in inner.requests[0].messages if message["role"] == "user")
    message = answers(state)["call-1"]
    assert (message.status, message.name) == ("success", "run_in_sandbox")
    assert "added new.txt (+1 -0)" in message.content
    assert "| Wrote it." in message.content
    result = SandboxResult.model_validate(message.artifact)
    assert [file.path for file in result.files] == ["new.txt"]
    assert state["messages"][-1].text == "It is done."
    assert "Look at these files first:" in prompt
    assert "README.md" in prompt


@pytest.mark.parametrize("way", ["sync", "async"])
def test_what_a_model_forges_never_reaches_the_run(way: str, repository: Path, tmp_path: Path) -> None:
    """First everything that it might try, then a call that is right but for a runtime of its own."""
    secret = tmp_path / "secret"
    secret.mkdir()
    forged = {"workspace": str(secret), "image": "evil:1", "tool_call_id": "forged", "sandbox": {}, "path": "/"}
    runtime = {"state": {}, "context": None, "config": {}, "stream_writer": None, "tool_call_id": "forged"}
    with (
        ScriptedModel([write("new.txt", "x\n"), say("Wrote it.")]) as inner,
        calling_model(
            calls(
                *(call("run_in_sandbox", call_id=f"bad-{name}", task="x", **{name: forged[name]}) for name in forged)
            ),
            calls(call("run_in_sandbox", call_id="good", task="Write.", runtime=runtime)),
            say("It is done."),
        ) as chat,
    ):
        tool = SandboxTool(sandbox=Sandbox(model=inner.endpoint, workspace=repository))
        found = answers(run(create_agent(chat, tools=[tool]), way))
    for name in forged:
        assert found[f"bad-{name}"].status == "error"
        assert f"{name}: Extra inputs are not permitted" in found[f"bad-{name}"].content
        assert found[f"bad-{name}"].artifact is None
    assert found["good"].status == "success"
    assert found["good"].artifact["workspace"]["root"] == str(repository)
    assert set(found) == {"good", *(f"bad-{name}" for name in forged)}


def test_a_run_that_fails_and_an_engine_that_is_missing_do_not_end_the_agent(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        ScriptedModel([{"text": ["half"], "fault": "cut"}]) as inner,
        calling_model(calls(call("run_in_sandbox", task="Write.")), say("It failed.")) as chat,
    ):
        tool = SandboxTool(sandbox=Sandbox(model=inner.endpoint, workspace=repository))
        failed = create_agent(chat, tools=[tool]).invoke(QUESTION)
    message = answers(failed)["call-1"]
    assert (message.status, message.name) == ("error", "run_in_sandbox")
    assert message.artifact["ending"]["code"] == "answer_cut"
    assert SandboxResult.model_validate(message.artifact).status == "model_error"
    assert failed["messages"][-1].text == "It failed."
    with calling_model(calls(call("run_in_sandbox", task="Write.")), say("No engine.")) as chat:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
        missing = create_agent(chat, tools=[tool]).invoke(QUESTION)
    message = answers(missing)["call-1"]
    assert message.status == "error"
    assert message.artifact["error"] == "SandboxUnavailableError"
    assert "No container engine answers" in message.content
    assert missing["messages"][-1].text == "No engine."


class Answer(BaseModel):
    files: list[str]


def test_a_typed_answer_is_in_the_artifact_and_told_to_the_model(repository: Path) -> None:
    typed = {"text": "", "tool_calls": [{"name": "StructuredOutput", "arguments": {"files": ["calc.py"]}}]}
    with (
        ScriptedModel([typed]) as inner,
        calling_model(calls(call("run_in_sandbox", task="Which files are Python?")), say("One.")) as chat,
    ):
        sandbox = Sandbox(model=inner.endpoint, workspace=repository)
        tool = SandboxTool(sandbox=sandbox, output=Answer, changes="discard")
        message = answers(create_agent(chat, tools=[tool]).invoke(QUESTION))["call-1"]
    assert message.artifact["structured"] == {"files": ["calc.py"]}
    assert '| {"files":["calc.py"]}' in message.content


@pytest.mark.parametrize("way", ["cancelled", "timed out", "left"])
def test_an_agent_that_is_stopped_leaves_no_container(way: str, repository: Path, client: docker.DockerClient) -> None:
    async def scenario() -> None:
        working = asyncio.Event()

        async def watch() -> None:
            async for part in agent.astream(QUESTION, stream_mode="custom"):
                if part["sandbox"]["type"] == "tool_started":
                    working.set()
                    if way == "left":
                        return

        task = asyncio.create_task(watch())
        await wait_for(working, task)
        if way == "left":
            await task
            return
        assert len(containers(client)) == 1
        if way == "cancelled":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0.1)

    with (
        ScriptedModel(lambda _messages: bash("sleep 600")) as inner,
        calling_model(calls(call("run_in_sandbox", task="Work."))) as chat,
    ):
        agent = create_agent(chat, tools=[SandboxTool(sandbox=Sandbox(model=inner.endpoint, workspace=repository))])
        asyncio.run(scenario())
        wait_until(lambda: containers(client) == [], 5)


def test_artifacts_come_back_from_a_checkpoint_in_another_process_with_strict_msgpack(
    repository: Path, tmp_path: Path
) -> None:
    """A `structured` answer with the widest of numbers, odd text, and changes, written by one and read by another."""
    typed = {"whole": 2**53 - 1, "text": "ü😀\u202e\x00", "half": 0.5, "none": None, "deep": [[{"a": []}]]}
    turns = [write("new.txt", "x\n"), {"text": "", "tool_calls": [{"name": "StructuredOutput", "arguments": typed}]}]
    with (
        ScriptedModel(turns) as inner,
        ScriptedModel([calls(call("run_in_sandbox", task="Write.")), say("It is done.")]) as outer,
    ):
        written = checkpointed("write", tmp_path, outer.endpoint.base_url, inner.endpoint.base_url, str(repository))
    read = checkpointed("read", tmp_path)
    assert read == written
    assert read["types"] == ["HumanMessage", "AIMessage", "ToolMessage", "AIMessage"]
    result = SandboxResult.model_validate(read["artifact"])
    assert result.ok, result.ending
    assert result.structured == typed
    assert [file.path for file in result.files] == ["new.txt"]


def checkpointed(*arguments: Any) -> dict:
    """What the helper process saw, with its database in a folder."""
    mode, folder, *rest = map(str, arguments)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "checkpointed.py"), mode, f"{folder}/checkpoints.sqlite", *rest],
        env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "unregistered" not in done.stderr
    return json.loads(done.stdout)
