"""A real Open WebUI, slim edition, with the tool imported as an administrator does it: loader, middleware, chats.

Installing it takes a minute and 0.8 GB, once: see `open_webui.install`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from mcp_over_http import TOKEN, McpServer
from open_webui import OpenWebUI, install
from support import bash, make_repository, say, wait_until, write

from langchain_sandbox.testing import ScriptedModel, Turn

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 13), reason="Open WebUI wants Python 3.11 or 3.12")

TOOL = Path(__file__).parents[2] / "examples/open_webui/sandbox_tool.py"
FIXED = "def add(a, b):\n    return a + b\n"


def play(messages: list[dict[str, Any]]) -> Turn:
    """The chat's model: calls the tool that the user names, and repeats what it is told."""
    last = messages[-1]
    if last["role"] == "tool":
        return {"text": last["content"]}
    return {"text": "", "tool_calls": [json.loads(last["content"])]}


def ask(name: str, **arguments: Any) -> str:
    return json.dumps({"name": name, "arguments": arguments})


@pytest.fixture(scope="module")
def chatter() -> Iterator[ScriptedModel]:
    with ScriptedModel(play) as model:
        yield model


@pytest.fixture(scope="module")
def web(
    chatter: ScriptedModel, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[OpenWebUI]:
    environment = install(request.config.cache.mkdir("open-webui"))
    with OpenWebUI(environment, tmp_path_factory.mktemp("open-webui"), chatter.endpoint) as server:
        server.add_tool(TOOL)
        yield server


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository", {"calc.py": "def add(a, b):\n    return a - b\n"})


@pytest.mark.timeout(600)  # the first test waits for the installation
def test_the_model_is_offered_the_tools_methods(web: OpenWebUI, chatter: ScriptedModel) -> None:
    web.set_valves("sandbox_tool", {"server_url": "http://127.0.0.1:9/mcp"})
    message = web.ask(ask("list_commands"), tools=["sandbox_tool"]).wait()
    assert "Error: The sandbox server at http://127.0.0.1:9/mcp cannot be reached." in message["content"]
    assert [item["status"] for item in message["output"]] == ["failed", "failed", "completed"]
    offered = {tool["function"]["name"]: tool["function"] for tool in chatter.requests[-1].body["tools"]}
    assert offered["run_in_sandbox"]["parameters"]["required"] == ["task"]
    assert list(offered["run_in_sandbox"]["parameters"]["properties"]) == ["task", "files"]
    assert offered["run_command"]["parameters"]["properties"]["arguments"]["type"] == "object"
    assert offered["list_commands"]["parameters"]["properties"] == {}


def test_a_task_is_watched_in_the_chat_and_its_changes_are_cited(
    web: OpenWebUI, chatter: ScriptedModel, repository: Path, tmp_path: Path
) -> None:
    script: list[Turn] = [bash("sleep 1; cat calc.py"), write("calc.py", FIXED), say("It subtracted.")]
    with ScriptedModel(script) as coder, McpServer(repository, coder.endpoint, tmp_path) as server:
        web.set_valves("sandbox_tool", {"server_url": server.url, "token": TOKEN})
        chat = web.ask(ask("run_in_sandbox", task="Fix add."), tools=["sandbox_tool"])
        message = chat.wait()
    assert "It subtracted." in message["content"]
    assert [item["status"] for item in message["output"]] == ["completed"] * 3
    assert any("sleep 1; cat calc.py" in status for status in chat.statuses())
    assert chat.statuses()[-1].startswith("completed · 1 file changed · ")
    (source,) = message["sources"]
    assert "-    return a - b\n+    return a + b\n" in source["document"][0]
    assert "+    return a + b" not in str(chatter.requests[-1].body["messages"])


def test_the_stop_button_leaves_no_container(
    web: OpenWebUI, repository: Path, tmp_path: Path, client: docker.DockerClient
) -> None:
    with (
        ScriptedModel([bash("sleep 100"), say()]) as coder,
        McpServer(repository, coder.endpoint, tmp_path) as server,
    ):
        web.set_valves("sandbox_tool", {"server_url": server.url, "token": TOKEN})
        chat = web.ask(ask("run_in_sandbox", task="Wait."), tools=["sandbox_tool"])
        wait_until(lambda: any("sleep 100" in words for words in chat.statuses()), 60)
        assert server.containers(client)
        chat.stop()
        wait_until(lambda: not server.containers(client), 30)
        chat.wait()
    assert chat.statuses()[-1] == "Cancelled"


def test_open_webui_can_also_talk_to_the_server_itself(
    web: OpenWebUI, chatter: ScriptedModel, repository: Path, tmp_path: Path, client: docker.DockerClient
) -> None:
    script: list[Turn] = [write("calc.py", FIXED), say("It subtracted."), bash("sleep 100"), say()]
    with ScriptedModel(script) as coder, McpServer(repository, coder.endpoint, tmp_path) as server:
        tool = web.add_mcp_server(server.url, TOKEN)
        message = web.ask(ask("sandbox_run_in_sandbox", task="Fix add."), tools=[tool]).wait()
        assert "It subtracted." in message["content"]
        assert [item["status"] for item in message["output"]] == ["completed"] * 3

        chat = web.ask(ask("sandbox_run_in_sandbox", task="Wait."), tools=[tool])
        wait_until(lambda: len(coder.requests) == 3 and server.containers(client), 60)
        chat.stop()
        wait_until(lambda: not server.containers(client), 30)
        chat.wait()
    assert "sandbox_run_in_sandbox" in str(chatter.requests[-1].body["tools"])
