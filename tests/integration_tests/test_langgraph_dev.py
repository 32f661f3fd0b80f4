"""The example app under LangGraph's own server, which raises where a call blocks its event loop."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from langgraph_sdk import get_client
from support import bash, make_repository, say, wait_until, write

from langchain_sandbox import SandboxResult
from langchain_sandbox.testing import ScriptedModel, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker
    from langgraph_sdk.client import LangGraphClient

ROOT = Path(__file__).parents[2]
APP = ROOT / "examples" / "langgraph_app"

# A graph that does what is not allowed: that it fails shows that the server is looking.
BLOCKING = """
import time
from langgraph.graph import START, MessagesState, StateGraph

async def block(state):
    time.sleep(0.01)

graph = StateGraph(MessagesState).add_node("block", block).add_edge(START, "block").compile()
"""

# A node that uses the package in every asynchronous way there is, from making the sandbox on.
EVERYTHING = """
import os
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langchain_sandbox import Sandbox, Workspace

async def use(state):
    folder = os.environ["SANDBOX_WORKSPACE"]
    sandbox = Sandbox(workspace=Workspace(folder))
    results = [await sandbox.arun("Write."), await sandbox.arun(command="look", arguments="lib", output=dict)]
    results += await sandbox.abatch(["Write.", {"task": "Write.", "workspace": folder}])
    types = [event.type async for event in sandbox.astream("/look src")]
    async with await sandbox.astart("Write.") as handle:
        results.append(await handle.aresult())
    paths = (await sandbox.aapply(results[0])).paths + (await sandbox.arevert(results[0])).paths
    said = [result.ending.message for result in results] + [types[-1], *paths]
    return {"messages": [AIMessage("|".join(said))]}

graph = StateGraph(MessagesState).add_node("use", use).add_edge(START, "use").compile()
"""


def play(messages: list[dict[str, Any]]) -> Turn:
    """The app's one model, in both of its parts."""
    return play_leader(messages) if "You lead a coding agent" in str(messages[0]["content"]) else play_coder(messages)


def play_leader(messages: list[dict[str, Any]]) -> Turn:
    last = messages[-1]
    if last["role"] == "tool":
        return say("It is written.")
    if last["content"].startswith("Look"):
        return {"tool_calls": [{"name": "look", "arguments": {"arg1": "src"}}]}
    return {"tool_calls": [{"name": "run_in_sandbox", "arguments": {"task": last["content"]}}]}


def play_coder(messages: list[dict[str, Any]]) -> Turn:
    said = str(messages)
    if messages[-1]["role"] == "tool":
        return say("Wrote it.")
    if "Look at the code in lib." in said:
        return {"tool_calls": [{"name": "StructuredOutput", "arguments": {"value": {}}}]}
    if "Look at the code in src." in said:
        return say("I have seen it.")
    return bash("sleep 600") if "for ever" in said else write("new.txt", "x\n")


@dataclass(frozen=True)
class Server:
    url: str
    log: Path

    def client(self) -> LangGraphClient:
        return get_client(url=self.url)

    def is_up(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/ok").status_code == 200
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(APP, folder, dirs_exist_ok=True)
    config = json.loads((folder / "langgraph.json").read_text())
    for name, code in {"blocking": BLOCKING, "everything": EVERYTHING}.items():
        (folder / f"{name}.py").write_text(code)
        config["graphs"][name] = f"./{name}.py:graph"
    (folder / "langgraph.json").write_text(json.dumps(config))
    repository = make_repository(
        tmp_path_factory.mktemp("repository"),
        {"a.txt": "a\n", ".opencode/commands/look.md": "Look at the code in $1.\n"},
    )
    with ScriptedModel(play) as model, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SANDBOX_", "LANG"))}
        environment |= {
            "PYTHONPATH": str(ROOT),
            "SANDBOX_MODEL_BASE_URL": model.endpoint.base_url,
            "SANDBOX_WORKSPACE": str(repository),
            "SANDBOX_STATE_DIR": str(tmp_path_factory.mktemp("state")),
            # Nothing of a test leaves the machine.
            "LANGGRAPH_CLI_NO_ANALYTICS": "1",
            "LANGGRAPH_NO_VERSION_CHECK": "1",
            "LANGSMITH_TRACING": "false",
        }
        command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--no-browser", "--no-reload"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        log = tmp_path_factory.mktemp("log") / "log.txt"
        with log.open("wb") as file:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT)
        served = Server(f"http://127.0.0.1:{port}", log)
        try:
            wait_until(lambda: served.is_up() or process.poll() is not None, 60)
            assert process.poll() is None, log.read_text()
            yield served
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def test_the_server_raises_where_a_call_blocks(server: Server) -> None:
    answer = asyncio.run(server.client().runs.wait(None, "blocking", input={"messages": []}, raise_error=False))
    assert answer["__error__"]["error"] == "BlockingError"


def test_a_run_streams_its_progress_and_blocks_nothing(server: Server) -> None:
    async def scenario() -> tuple[list[str], dict[str, Any]]:
        client = server.client()
        thread = (await client.threads.create())["thread_id"]
        question = {"messages": [{"role": "user", "content": "Write new.txt."}]}
        parts = client.runs.stream(thread, "coder", input=question, stream_mode=["custom", "values"])
        progress = [part.data["sandbox"]["type"] async for part in parts if part.event == "custom"]
        return progress, (await client.threads.get_state(thread))["values"]

    before = len(server.log.read_text())
    progress, state = asyncio.run(scenario())
    assert "BlockingError" not in server.log.read_text()[before:]
    assert (progress[0], progress[-1]) == ("started", "finished")
    assert "tool_started" in progress
    answer, last = state["messages"][-2:]
    assert (answer["type"], answer["status"]) == ("tool", "success")
    result = SandboxResult.model_validate(answer["artifact"])
    assert [file.path for file in result.files] == ["new.txt"]
    assert last["content"] == "It is written."


def test_a_command_of_the_repository_is_a_tool_there(server: Server) -> None:
    question = {"messages": [{"role": "user", "content": "Look around."}]}
    before = len(server.log.read_text())
    state = asyncio.run(server.client().runs.wait(None, "coder", input=question))
    assert "BlockingError" not in server.log.read_text()[before:]
    answer = state["messages"][-2]
    assert (answer["type"], answer["name"], answer["status"]) == ("tool", "look", "success")
    assert answer["artifact"]["text"] == "I have seen it."
    assert answer["artifact"]["receipt"]["command"] == "look"


def test_a_person_decides_there_and_a_bad_answer_does_no_harm(server: Server) -> None:
    async def scenario() -> tuple[list[Any], dict[str, Any]]:
        client = server.client()
        thread = (await client.threads.create())["thread_id"]
        asked = []
        for given in (None, {"type": "approve"}, {"type": "reject", "comment": "Not here."}):
            call: Any = {"input": {"sandbox_task": "Write."}} if given is None else {"command": {"resume": given}}
            await client.runs.wait(thread, "review", **call, raise_error=False)
            state = await client.threads.get_state(thread)
            asked.append(state["interrupts"])
        return asked, state["values"]

    before = len(server.log.read_text())
    asked, state = asyncio.run(scenario())
    assert "BlockingError" not in server.log.read_text()[before:]
    (first,), (still,), none = asked
    assert first["value"]["files"][0]["path"] == "new.txt"
    assert first["value"]["type"] == "sandbox_review"
    assert "accept" in first["response_schema"]["discriminator"]["mapping"]
    assert (still["id"], still["value"], none) == (first["id"], first["value"], [])
    (result,) = state["sandbox_results"]
    assert (result["applied"], result["review"]) == (False, {"decision": "reject", "comment": "Not here."})


def test_nothing_in_the_package_blocks_where_it_is_awaited(server: Server) -> None:
    answer = asyncio.run(server.client().runs.wait(None, "everything", input={"messages": []}, raise_error=False))
    assert "__error__" not in answer, answer["__error__"]
    done = "The agent says that it has done the task."
    typed = "The agent has given the answer that was asked for."
    said = answer["messages"][-1]["content"].split("|")
    assert said == [done, typed, done, done, done, "finished", "new.txt", "new.txt"]


def test_a_run_that_a_client_cancels_leaves_no_container(server: Server, client: docker.DockerClient) -> None:
    async def scenario() -> tuple[str, str]:
        graphs = server.client()
        thread = (await graphs.threads.create())["thread_id"]
        question = {"messages": [{"role": "user", "content": "Work for ever."}]}
        container = run = ""
        async for part in graphs.runs.stream(thread, "coder", input=question, stream_mode="custom"):
            if part.event == "metadata":
                run = part.data["run_id"]
            elif part.event == "custom" and part.data["sandbox"]["type"] == "started":
                container = part.data["sandbox"]["container"]
            elif part.event == "custom" and part.data["sandbox"]["type"] == "tool_started":
                assert client.containers.get(container).status == "running"
                await graphs.runs.cancel(thread, run, wait=True)
        return container, (await graphs.runs.get(thread, run))["status"]

    before = len(server.log.read_text())
    container, status = asyncio.run(scenario())
    assert status == "interrupted"
    assert container
    wait_until(lambda: not client.api.containers(all=True, filters={"name": container}), 10)
    assert "BlockingError" not in server.log.read_text()[before:]
