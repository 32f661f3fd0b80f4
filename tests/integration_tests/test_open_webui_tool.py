"""The tools for Open WebUI, called as it calls them, on real servers, engines and agents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from mcp_over_http import TOKEN, McpServer
from open_webui_files import load
from support import bash, containers, git, make_repository, say, wait_until, write

from langchain_sandbox.testing import ScriptedModel, Turn

FIXED = "def add(a, b):\n    return a + b\n"
AUDIT = """---
description: Looks for what is hard to read.
arguments:
  - name: depth
    type: integer
    description: How deep to look.
---
Audit, $1 deep.
"""


class Chat:
    """What a chat shows of a tool's call."""

    def __init__(self, answer: Any = None) -> None:
        self.statuses: list[str] = []
        self.done: list[bool] = []
        self.sources: list[Any] = []
        self.questions: list[Any] = []
        self._answer = answer

    async def emit(self, event: dict[str, Any]) -> None:
        match event:
            case {"type": "status", "data": {"description": words, "done": done}}:
                self.statuses.append(words)
                self.done.append(done)
            case {"type": "source", "data": data}:
                self.sources.append(data)

    async def call(self, event: dict[str, Any]) -> Any:
        self.questions.append(event)
        return self._answer


def make_tools(server: McpServer, **valves: Any) -> Any:
    tools = load("sandbox_tool").Tools()
    tools.valves = tools.Valves(**{"server_url": server.url, "token": TOKEN, **valves})
    return tools


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    files: dict[str, str | bytes] = {
        "calc.py": "def add(a, b):\n    return a - b\n",
        ".opencode/commands/audit.md": AUDIT,
    }
    return make_repository(tmp_path / "repository", files)


@pytest.fixture
def coder() -> Iterator[ScriptedModel]:
    with ScriptedModel([write("calc.py", FIXED), say("It subtracted.")]) as model:
        yield model


@pytest.fixture
def slow_coder() -> Iterator[ScriptedModel]:
    """Takes its time with one step, so that a chat which leaves out what is overtaken shows that one."""
    script: list[Turn] = [bash("sleep 1; cat calc.py"), write("calc.py", FIXED), say("It subtracted.")]
    with ScriptedModel(script) as model:
        yield model


async def test_a_task_is_watched_and_its_changes_are_cited(
    repository: Path, slow_coder: ScriptedModel, tmp_path: Path
) -> None:
    chat = Chat()
    with McpServer(repository, slow_coder.endpoint, tmp_path) as server:
        text = await make_tools(server).run_in_sandbox("Fix add.", ["calc.py"], None, chat.emit)
    assert "It subtracted." in text
    assert "+    return a + b" not in text  # the chat's model is told what changed, not shown all of it
    assert any("sleep 1; cat calc.py" in status for status in chat.statuses)
    assert chat.statuses[-1].startswith("completed · 1 file changed · ")
    assert chat.done == [False] * (len(chat.done) - 1) + [True]
    (source,) = chat.sources
    assert "-    return a - b\n+    return a + b\n" in source["document"][0]
    assert "calc.py" in slow_coder.requests[0].body["messages"][-1]["content"]


async def test_a_user_may_have_the_report_in_the_chat(repository: Path, coder: ScriptedModel, tmp_path: Path) -> None:
    chat = Chat()
    with McpServer(repository, coder.endpoint, tmp_path) as server:
        tools = make_tools(server)
        wishes = tools.UserValves(show_diff=False, show_report=True)
        page, text = await tools.run_in_sandbox("Fix add.", None, {"valves": wishes}, chat.emit)
    assert "It subtracted." in text
    assert page.headers["Content-Disposition"] == "inline"
    assert "It subtracted." in page.body.decode()
    assert chat.sources == []


async def test_commands_are_listed_and_run(repository: Path, tmp_path: Path) -> None:
    chat = Chat()
    with ScriptedModel([say("Nothing to say.")]) as coder, McpServer(repository, coder.endpoint, tmp_path) as server:
        tools = make_tools(server)
        listed = await tools.list_commands()
        assert "Looks for what is hard to read." in listed
        assert "How deep to look." in listed
        assert "run_in_sandbox" not in listed
        name = listed.partition("- ")[2].partition(":")[0]
        text = await tools.run_command(name, {"depth": 3}, None, chat.emit)
        unknown = await tools.run_command("audits", {}, None, chat.emit)
        wrong = await tools.run_command(name, {"depth": "deep"}, None, chat.emit)
    assert "Nothing to say." in text
    assert "Audit, 3 deep." in str(coder.requests[0].body["messages"])
    assert unknown.startswith("Error: There is no command 'audits'.")
    assert name in unknown
    assert wrong.startswith("Error: ")
    assert "depth" in wrong
    assert len(coder.requests) == 1


async def test_a_generation_that_is_stopped_leaves_no_container(
    repository: Path, tmp_path: Path, client: docker.DockerClient
) -> None:
    chat = Chat()
    with (
        ScriptedModel([bash("sleep 100"), say()]) as coder,
        McpServer(repository, coder.endpoint, tmp_path) as server,
    ):
        tools = make_tools(server)
        call = asyncio.create_task(tools.run_in_sandbox("Wait.", None, None, chat.emit))
        await asyncio.to_thread(wait_until, lambda: any("sleep 100" in words for words in chat.statuses), 60)
        assert server.containers(client)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(wait_until, lambda: not server.containers(client), 30)
        assert chat.statuses[-1] == "Cancelled"
        assert chat.done[-1]
        assert "audit" in await tools.list_commands()  # the server lives on


async def test_a_run_that_fails_is_an_error_in_words(repository: Path, tmp_path: Path) -> None:
    chat = Chat()
    with (
        ScriptedModel([], fault="unauthorized") as coder,
        McpServer(repository, coder.endpoint, tmp_path) as server,
    ):
        text = await make_tools(server).run_in_sandbox("Fix add.", None, None, chat.emit)
    assert text.startswith("Error: ")
    assert "model_error" in text
    assert chat.statuses[-1].startswith("model_error · nothing changed")
    assert chat.sources == []


async def test_a_server_that_lets_nobody_in_is_an_error_that_says_what_to_do(
    repository: Path, coder: ScriptedModel, tmp_path: Path
) -> None:
    with McpServer(repository, coder.endpoint, tmp_path) as server:
        for valves, words in (
            ({"token": "wrong"}, "does not know this token"),
            ({"token": ""}, "wants a token"),
            ({"server_url": "http://127.0.0.1:9/mcp"}, "cannot be reached"),
        ):
            chat = Chat()
            tools = make_tools(server, **valves)
            text = await tools.run_in_sandbox("Fix add.", None, None, chat.emit)
            assert text.startswith("Error: ")
            assert words in text
            assert words in chat.statuses[-1]
            assert words in await tools.list_commands()
    assert coder.requests == []


async def test_changes_are_applied_if_the_user_says_so(repository: Path, tmp_path: Path) -> None:
    answers: list[tuple[dict[str, Any], bool]] = [
        ({"error": "Client session disconnected."}, False),
        ({"action": "accept", "content": {"decision": "reject"}}, False),
        ({"action": "accept", "content": {"decision": "accept"}}, True),
    ]
    with (
        ScriptedModel([write("calc.py", FIXED), say()] * len(answers)) as coder,
        McpServer(repository, coder.endpoint, tmp_path, "--changes", "review") as server,
    ):
        for answer, applied in answers:
            chat = Chat(answer)
            text = await make_tools(server).run_in_sandbox("Fix add.", None, None, chat.emit, chat.call)
            (question,) = chat.questions
            assert question["type"] == "request:elicitation"
            assert "calc.py" in str(question["data"])
            assert (git(repository, "status", "--porcelain") == "M calc.py") == applied
            assert ("not applied" in text) != applied
            assert chat.statuses[-1].endswith("· applied") == applied


async def test_without_a_user_to_ask_nothing_is_applied_and_the_model_cannot_either(
    repository: Path, coder: ScriptedModel, tmp_path: Path
) -> None:
    with McpServer(repository, coder.endpoint, tmp_path, "--changes", "review") as server:
        tools = make_tools(server)
        text = await tools.run_in_sandbox("Fix add.")
        run_id = text.partition("Sandbox run ")[2][:12]
        assert "apply_run" not in await tools.list_commands()
        applied = await tools.run_command("apply_run", {"run_id": run_id})
    assert "not applied" in text
    assert applied.startswith("Error: There is no command 'apply_run'.")
    assert git(repository, "status", "--porcelain") == ""


async def test_beside_the_engine_no_server_is_needed(repository: Path, slow_coder: ScriptedModel) -> None:
    chat = Chat()
    tools = load("sandbox_tool_local").Tools()
    tools.valves = tools.Valves(workspace=str(repository), model_url=slow_coder.endpoint.base_url)
    text = await tools.run_in_sandbox("Fix add.", chat.emit)
    assert "It subtracted." in text
    assert "bash: sleep 1; cat calc.py" in chat.statuses
    assert chat.statuses[-1] == "completed"
    assert chat.done == [False] * (len(chat.done) - 1) + [True]
    assert "-    return a - b\n+    return a + b\n" in chat.sources[0]["document"][0]


async def test_beside_the_engine_too_a_stopped_generation_leaves_no_container(
    repository: Path, client: docker.DockerClient
) -> None:
    chat = Chat()
    with ScriptedModel([bash("sleep 100"), say()]) as coder:
        tools = load("sandbox_tool_local").Tools()
        tools.valves = tools.Valves(workspace=str(repository), model_url=coder.endpoint.base_url)
        call = asyncio.create_task(tools.run_in_sandbox("Wait.", chat.emit))
        await asyncio.to_thread(wait_until, lambda: "bash: sleep 100" in chat.statuses, 60)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert containers(client) == []


async def test_beside_the_engine_what_is_set_wrong_is_said(tmp_path: Path) -> None:
    chat = Chat()
    tools = load("sandbox_tool_local").Tools()
    tools.valves = tools.Valves(workspace=str(tmp_path / "nowhere"), model_url="http://127.0.0.1:9/v1")
    text = await tools.run_in_sandbox("Fix add.", chat.emit)
    assert text.startswith("Error: ")
    assert "nowhere" in text
    assert chat.done == [True]
