"""The files for Open WebUI: what it reads in them before it runs them, and their pure parts."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest
from mcp.types import CallToolResult, ElicitRequestFormParams, TextContent, Tool
from open_webui_files import FOLDER, load
from packaging.requirements import Requirement

FILES = sorted(FOLDER.glob("*.py"))


tool = load("sandbox_tool")


def front_matter(file: Path) -> dict[str, str]:
    """As open_webui.utils.plugin.extract_frontmatter reads it."""
    first, *lines = file.read_text().splitlines()
    assert first.strip() == '"""'
    head = lines[: next(index for index, line in enumerate(lines) if '"""' in line)]
    found = [re.match(r"^\s*([a-z_]+):\s*(.*)\s*$", line, re.IGNORECASE) for line in head]
    return {match[1]: match[2] for match in found if match}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_open_webui_can_read_what_a_file_says_of_itself(file: Path) -> None:
    head = front_matter(file)
    assert {"title", "description", "author", "version", "license", "required_open_webui_version"} <= head.keys()
    # Open WebUI splits at each comma, so that a requirement with two bounds would become two.
    for each in head.get("requirements", "").split(","):
        assert not each or Requirement(each)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_word_in_a_file_is_one_that_open_webui_rewrites(file: Path) -> None:
    assert not re.search("from (utils|apps|main|config)", file.read_text())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_argument_that_a_model_sees_is_described_and_every_other_one_is_optional(file: Path) -> None:
    tools = load(file.stem).Tools()
    methods = {name: value for name, value in inspect.getmembers(tools, inspect.ismethod) if not name.startswith("_")}
    assert "run_in_sandbox" in methods
    for method in methods.values():
        assert get_type_hints(method)
        described = set(re.findall(r":param (\w+):", method.__doc__))
        parameters = inspect.signature(method).parameters
        assert described == {name for name in parameters if not name.startswith("__")}
        for name, parameter in parameters.items():
            assert parameter.default is None or not name.startswith("__")


def test_a_token_is_typed_unseen() -> None:
    schema = tool.Tools.Valves.model_json_schema()
    assert schema["properties"]["token"]["input"] == {"type": "password"}


@pytest.mark.parametrize("diff", ["+plain", "+```\n+# heading", "+`````", "````\n```"])
def test_no_diff_can_end_the_block_that_it_is_shown_in(diff: str) -> None:
    (document,) = tool._cite(diff, "abcdef0123")["data"]["document"]
    first, *body, last = document.splitlines()
    assert first == f"{last}diff"
    assert "\n".join(body) == diff
    assert set(last) == {"`"}
    assert last not in diff


def test_a_source_is_called_by_its_run() -> None:
    data = tool._cite("+a", "abcdef0123")["data"]
    assert data["source"]["name"] == data["metadata"][0]["source"] == "Changes of run abcdef01"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"status": "completed", "files": [{}], "timings": {"total": 3.4}}, "completed · 1 file changed · 3 s"),
        ({"status": "completed", "files": [{}, {}], "applied": True}, "completed · 2 files changed · applied"),
        ({"status": "timeout", "files": [], "timings": None}, "timeout · nothing changed"),
        (None, "Done"),
    ],
)
def test_the_last_line_says_how_it_ended(facts: dict[str, Any] | None, words: str) -> None:
    assert tool._sum_up(CallToolResult(content=[], structured_content=facts)) == words


def test_a_failed_call_is_one_that_open_webui_knows_as_such() -> None:
    text = [TextContent(text="No model."), TextContent(text="Start one.")]
    assert tool._text_of(CallToolResult(content=text, is_error=True)) == "Error: No model.\nStart one."
    assert tool._text_of(CallToolResult(content=text)) == "No model.\nStart one."
    assert tool._sum_up(CallToolResult(content=text, is_error=True)) == "Failed"


FREE = Tool(
    name="run_in_sandbox",
    input_schema={"type": "object", "properties": {"task": {}, "files": {}, "timeout": {"maximum": 300}}},
)
OWN = Tool(name="own", input_schema={"type": "object", "properties": {"timeout": {}, "files": {}}})
AUDIT = Tool(name="audit", description="Audits.", input_schema={"type": "object", "properties": {"depth": {}}})


def test_the_time_limit_goes_to_what_takes_one() -> None:
    assert tool._fit([FREE, AUDIT], "run_in_sandbox", {"task": "x"}, 60) == {"task": "x", "timeout": 60}
    assert tool._fit([FREE, AUDIT], "run_in_sandbox", {"task": "x"}, 0) == {"task": "x"}
    assert tool._fit([FREE, AUDIT], "audit", {"depth": 1}, 60) == {"depth": 1}


def test_a_time_limit_that_the_server_does_not_allow_is_no_error_of_the_models() -> None:
    given = tool._fit([FREE], "run_in_sandbox", {"task": "x", "files": []}, 600)
    assert given == {"task": "x", "timeout": 300}


def test_a_commands_arguments_are_its_own() -> None:
    assert tool._fit([OWN], "own", {"timeout": 3, "files": []}, 60) == {"timeout": 3, "files": []}


def test_a_diff_hides_nothing() -> None:
    (document,) = tool._cite("+a\tb \u202e\x1b[2J\u200bü", "")["data"]["document"]
    assert document.splitlines()[1] == "+a\tb \\u202e\\u001b[2J\\u200bü"


def test_an_unknown_command_is_answered_with_those_there_are() -> None:
    with pytest.raises(tool.SandboxServerError) as caught:
        tool._fit([FREE, AUDIT], "audits", {}, 0)
    first, *others = str(caught.value).splitlines()
    assert first == "There is no command 'audits'."
    assert any("- audit: Audits." in line for line in others)
    assert not any("run_in_sandbox" in line for line in others)
    assert tool._describe([]) == "The repository has no commands; use run_in_sandbox."


class ConnectError(Exception):
    """By the name of the one that httpx2 raises."""


@pytest.mark.parametrize(
    ("errors", "statuses", "token", "words"),
    [
        ([ValueError("x")], [401], "", "wants a token"),
        ([ValueError("x")], [200, 401], "old", "does not know this token"),
        ([ValueError("x")], [404], "t", "does the address end in /mcp?"),
        ([ValueError("x")], [421], "t", "does not go by this name"),
        ([ConnectError("x")], [], "t", "host.docker.internal"),
        ([ValueError("odd")], [200], "t", "did not answer as it should: odd"),
        ([TimeoutError()], [], "t", "did not answer as it should: TimeoutError"),
    ],
)
def test_what_goes_wrong_with_the_server_is_said_with_what_to_do(
    errors: list[Exception], statuses: list[int], token: str, words: str
) -> None:
    assert words in tool._explain("http://sandbox/mcp", errors, statuses, has_token=bool(token))


def test_errors_are_found_however_deep_they_are() -> None:
    deep = ExceptionGroup("outer", [ValueError("a"), ExceptionGroup("inner", [ConnectError("b")])])
    assert [str(leaf) for leaf in tool._leaves(deep)] == ["a", "b"]


async def test_news_that_are_overtaken_are_left_out_and_nothing_comes_after_the_last_word() -> None:
    shown: list[Any] = []
    told = asyncio.Event()

    async def emit(event: dict[str, Any]) -> None:
        shown.append((event["data"]["description"], event["data"]["done"]))
        if event["data"]["description"].startswith("step"):
            told.set()

    async with tool._Status(emit) as status:
        await status.say("Reaching")
        for index in range(100):
            await status.progress(index, None, f"step {index}")
        await told.wait()
        await status.progress(100, None, "step 99")  # no news
        await status.progress(101, None, None)
        await status.progress(102, None, "late")
        await status.say("completed", done=True)
    assert shown == [("Reaching", False), ("step 99", False), ("completed", True)]


async def test_where_nobody_looks_nothing_is_shown() -> None:
    async with tool._Status(None) as status:
        await status.progress(1, None, "step")
        await status.say("completed", done=True)


@pytest.mark.parametrize(
    ("answer", "action", "content"),
    [
        ({"action": "accept", "content": {"apply": True}}, "accept", {"apply": True}),
        ({"action": "decline", "content": {"apply": True}}, "decline", None),
        ({"error": "Client session disconnected."}, "cancel", None),
        (None, "cancel", None),
        ({"action": "anything"}, "cancel", None),
    ],
)
async def test_a_question_of_the_servers_is_answered_by_the_user_alone(
    answer: Any, action: str, content: dict[str, Any] | None
) -> None:
    asked: list[Any] = []

    async def call(event: dict[str, Any]) -> Any:
        asked.append(event)
        return answer

    schema: Any = {"type": "object", "properties": {"apply": {"type": "boolean"}}}
    params = ElicitRequestFormParams(message="Apply?", requested_schema=schema)
    result = await tool._ask_with(call)(SimpleNamespace(), params)
    assert (result.action, result.content) == (action, content)
    assert asked[0]["type"] == "request:elicitation"
    assert asked[0]["data"]["message"] == "Apply?"
    assert asked[0]["data"]["requestedSchema"]["properties"] == schema["properties"]


async def test_where_there_is_no_user_a_question_of_the_servers_is_not_answered() -> None:
    params = ElicitRequestFormParams(message="Apply?", requested_schema={"type": "object", "properties": {}})
    assert (await tool._ask_with(None)(SimpleNamespace(), params)).action == "cancel"
