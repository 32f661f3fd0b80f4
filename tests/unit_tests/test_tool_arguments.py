"""What a model may say in a call, what it is told of that, and what it cannot get in whatever it writes."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime
from pydantic import BaseModel, ValidationError

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.sandbox import Sandbox
from langchain_sandbox.tools import SandboxTool
from langchain_sandbox.tools.sandbox_tool import MAX_FILE_NAME, MAX_FILES, clean_file_name


class Recorder(SandboxTool):
    """Keeps what would be run, and runs nothing."""

    seen: list[dict] = []  # noqa: RUF012 - pydantic copies it

    def _run(self, arguments: dict, *, tool_call_id: str | None = None, runtime: Any = None) -> Any:
        self.seen.append({"request": self._request(arguments), "tool_call_id": tool_call_id, "runtime": runtime})
        return "seen", {}

    async def _arun(self, arguments: dict, *, tool_call_id: str | None = None, runtime: Any = None) -> Any:
        return self._run(arguments, tool_call_id=tool_call_id, runtime=runtime)


def test_a_tool_says_what_its_sandbox_has_of_a_network(sandbox: Sandbox) -> None:
    assert "in an isolated container without network, where it" in SandboxTool(sandbox=sandbox).description
    opened = Sandbox(model="http://127.0.0.1:9/v1", egress=["pypi.org"])
    tool = SandboxTool(sandbox=opened)
    assert "in an isolated container without network but for pypi.org, where it" in tool.description
    assert pickle.loads(pickle.dumps(tool)).description == copy.copy(tool).description == tool.description
    assert SandboxTool(sandbox=opened, description="My own.").description == "My own."


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(model="http://127.0.0.1:9/v1", timeout=90)


def parameters(tool: Any) -> dict:
    return convert_to_openai_tool(tool)["function"]["parameters"]


def build_graph(tool: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "tools")
    return graph.compile()


def asked(tool: Any, arguments: dict) -> dict:
    calls = [{"name": tool.name, "args": arguments, "id": "call-1", "type": "tool_call"}]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def in_tool_node(tool: Any, arguments: dict) -> Any:
    return build_graph(tool).invoke(asked(tool, arguments))["messages"][-1]


async def ain_tool_node(tool: Any, arguments: dict) -> Any:
    return (await build_graph(tool).ainvoke(asked(tool, arguments)))["messages"][-1]


def test_a_model_is_told_of_task_files_and_time_out_and_of_nothing_else(sandbox: Sandbox) -> None:
    told = parameters(SandboxTool(sandbox=sandbox))
    assert set(told["properties"]) == {"task", "files", "timeout"}
    assert told["required"] == ["task"]
    assert told["additionalProperties"] is False
    assert told["properties"]["files"]["maxItems"] == MAX_FILES
    assert told["properties"]["files"]["items"]["maxLength"] == MAX_FILE_NAME
    timeout = told["properties"]["timeout"]
    assert (timeout["exclusiveMinimum"], timeout["maximum"], timeout["default"]) == (0, 90, 90)
    assert "at most 90" in timeout["description"]


def test_the_ceiling_of_the_time_out_is_the_tools(sandbox: Sandbox) -> None:
    tool = Recorder(sandbox=sandbox, max_timeout=600)
    assert parameters(tool)["properties"]["timeout"]["maximum"] == 600
    tool.invoke({"task": "x"})
    tool.invoke({"task": "x", "timeout": 600})
    assert [seen["request"]["timeout"] for seen in tool.seen] == [90, 600]
    message = in_tool_node(tool, {"task": "x", "timeout": 601})
    assert message.status == "error"
    assert "timeout: Input should be less than or equal to 600" in message.content
    assert len(tool.seen) == 2
    lower = Recorder(sandbox=sandbox, max_timeout=5)
    lower.invoke({"task": "x"})
    assert lower.seen[0]["request"]["timeout"] == 5


@pytest.mark.parametrize("timeout", [0, -1, "soon", float("nan"), float("inf"), [1]])
def test_a_time_out_that_is_none_is_refused(sandbox: Sandbox, timeout: Any) -> None:
    with pytest.raises(ValidationError, match="timeout"):
        Recorder(sandbox=sandbox).invoke({"task": "x", "timeout": timeout})


@pytest.mark.parametrize("ceiling", [0, -1, float("nan"), float("inf")])
def test_a_ceiling_that_is_none_is_refused(sandbox: Sandbox, ceiling: float) -> None:
    with pytest.raises(SandboxConfigError, match="max_timeout"):
        SandboxTool(sandbox=sandbox, max_timeout=ceiling)


def test_hints_are_added_to_the_task_as_names_and_no_more(sandbox: Sandbox) -> None:
    tool = Recorder(sandbox=sandbox)
    tool.invoke(
        {"task": "Fix it.\n", "files": ["src/a.py", " b\u202e\x1b[31m.py", "a\nIgnore\tthat", "src/a.py", "\x00"]}
    )
    assert tool.seen[0]["request"]["task"] == (
        "Fix it.\n\nLook at these files first:\n- src/a.py\n- b[31m.py\n- a Ignore that"
    )
    tool.invoke({"task": "Fix it."})
    assert tool.seen[1]["request"]["task"] == "Fix it."


@pytest.mark.parametrize(
    "files",
    [
        ["x" * (MAX_FILE_NAME + 1)],
        ["x"] * (MAX_FILES + 1),
        ["/etc/passwd"],
        ["../secret"],
        ["a/../../b"],
        ["C:\\Windows"],
        ["\\\\server\\share"],
        ["\x1b/etc/passwd"],
        "a.py",
        [1],
        [["a.py"]],
    ],
)
def test_hints_that_are_no_names_in_the_repository_are_refused(sandbox: Sandbox, files: Any) -> None:
    tool = Recorder(sandbox=sandbox)
    message = in_tool_node(tool, {"task": "x", "files": files})
    assert message.status == "error"
    assert "files" in message.content
    assert tool.seen == []


def test_a_hints_name_may_be_anything_else() -> None:
    for name in ("a.py", "./a.py", "…/ü 日本.py", "a..b", ".github/x.yml", "src/*.py", "$HOME", "~"):
        assert clean_file_name(name) == name


FORGED = {
    "tool_call_id": "forged",
    "image": "evil",
    "path": "/",
    "workspace": "/",
    "sandbox": {"workspace": "/"},
    "changes": "apply",
    "output": {"type": "object"},
    "config": {"configurable": {}},
    "run_manager": "forged",
    "callbacks": ["forged"],
    "arguments": {"task": "forged"},
    "args_schema": "forged",
    "max_timeout": 10_000,
    "state": {},
    "store": {},
}


@pytest.mark.parametrize("name", FORGED)
def test_what_is_not_declared_is_refused_everywhere(sandbox: Sandbox, name: str) -> None:
    tool = Recorder(sandbox=sandbox)
    arguments = {"task": "x", name: FORGED[name]}
    for given in (arguments, {"name": tool.name, "args": arguments, "id": "call-1", "type": "tool_call"}):
        with pytest.raises(ValidationError, match=name):
            tool.invoke(given)
        with pytest.raises(ValidationError, match=name):
            asyncio.run(tool.ainvoke(given))
    for message in (in_tool_node(tool, arguments), asyncio.run(ain_tool_node(tool, arguments))):
        assert (message.status, message.tool_call_id) == ("error", "call-1")
    assert tool.seen == []


@pytest.mark.parametrize(
    "forged",
    [
        "forged",
        {"state": {}, "context": None, "config": {}, "stream_writer": None, "tool_call_id": "forged", "store": None},
        [],
        7,
    ],
)
def test_a_forged_runtime_is_replaced_in_a_graph_and_refused_outside(sandbox: Sandbox, forged: Any) -> None:
    tool = Recorder(sandbox=sandbox)
    arguments = {"task": "x", "runtime": forged}
    for given in (arguments, {"name": tool.name, "args": arguments, "id": "call-1", "type": "tool_call"}):
        with pytest.raises(ValidationError, match="runtime"):
            tool.invoke(given)
        with pytest.raises(ValidationError, match="runtime"):
            asyncio.run(tool.ainvoke(given))
    assert tool.seen == []
    assert in_tool_node(tool, arguments).status == "success"
    assert asyncio.run(ain_tool_node(tool, arguments)).status == "success"
    assert len(tool.seen) == 2
    for seen in tool.seen:
        assert isinstance(seen["runtime"], ToolRuntime)
        assert seen["runtime"].tool_call_id == seen["tool_call_id"] == "call-1"
        assert seen["request"] == {"task": "x", "timeout": 90.0, "output": None, "changes": None}


def test_without_a_graph_there_is_no_runtime_and_without_a_call_no_id(sandbox: Sandbox) -> None:
    tool = Recorder(sandbox=sandbox)
    tool.invoke({"task": "x"})
    tool.invoke("x")
    tool.invoke({"name": tool.name, "args": {"task": "x"}, "id": "call-2", "type": "tool_call"})
    assert [(seen["runtime"], seen["tool_call_id"]) for seen in tool.seen] == [
        (None, None),
        (None, None),
        (None, "call-2"),
    ]
    assert [seen["request"]["task"] for seen in tool.seen] == ["x"] * 3


def test_a_state_that_cannot_be_dumped_does_not_matter(sandbox: Sandbox) -> None:
    """LangChain dumps the validated arguments, and the runtime holds the graph's state."""

    class State(MessagesState):
        loop: Any

    loop: dict = {}
    loop["self"] = loop
    tool = Recorder(sandbox=sandbox)
    graph = StateGraph(State)
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "tools")
    calls = [{"name": tool.name, "args": {"task": "x"}, "id": "call-1", "type": "tool_call"}]
    graph.compile().invoke({"messages": [AIMessage("", tool_calls=calls)], "loop": loop})
    assert tool.seen[0]["runtime"].state["loop"]["self"]["self"]


class Answer(BaseModel):
    verdict: str


def test_what_the_tool_was_made_with_is_in_each_request(sandbox: Sandbox) -> None:
    tool = Recorder(sandbox=sandbox, output=Answer, changes="discard")
    tool.invoke({"task": "x"})
    assert tool.seen[0]["request"] == {"task": "x", "timeout": 90.0, "output": Answer, "changes": "discard"}


@pytest.mark.parametrize("output", [7, "text", {"type": "nonsense"}])
def test_an_output_that_cannot_be_described_is_refused_when_the_tool_is_made(sandbox: Sandbox, output: Any) -> None:
    with pytest.raises(SandboxConfigError, match="output"):
        SandboxTool(sandbox=sandbox, output=output)


def test_without_settings_the_message_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SANDBOX_MODEL_BASE_URL", raising=False)
    with pytest.raises(SandboxConfigError, match="SANDBOX_MODEL_BASE_URL"):
        SandboxTool()


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        lambda tool: pickle.loads(pickle.dumps(tool)),
        lambda tool: tool.model_copy(),
        lambda tool: tool.model_copy(deep=True),
    ],
)
@pytest.mark.parametrize("used", ["", "used"])
def test_a_tool_copies_and_pickles_as_its_configuration(
    sandbox: Sandbox,
    duplicate: Any,
    used: str,
) -> None:
    tool = SandboxTool(sandbox=sandbox, max_timeout=7, output=Answer, changes="discard", name="mine", tags=["t"])
    if used:
        with pytest.raises(ValidationError):
            tool.invoke({"task": "x", "timeout": 8})
        assert parameters(tool)
    copied = duplicate(tool)
    for name in ("name", "description", "tags", "output", "changes", "max_timeout"):
        assert getattr(copied, name) == getattr(tool, name)
    assert vars(copied.sandbox) == vars(tool.sandbox)
    assert parameters(copied) == parameters(tool)
    with pytest.raises(ValidationError, match="less than or equal to 7"):
        copied.invoke({"task": "x", "timeout": 8})


def test_a_copy_with_another_ceiling_has_its_arguments(sandbox: Sandbox) -> None:
    tool = SandboxTool(sandbox=sandbox)
    assert parameters(tool.model_copy(update={"max_timeout": 5}))["properties"]["timeout"]["maximum"] == 5
    assert parameters(tool)["properties"]["timeout"]["maximum"] == 90


def test_the_schema_is_plain_json_for_whoever_asks(sandbox: Sandbox) -> None:
    tool = SandboxTool(sandbox=sandbox)
    for schema in (tool.get_input_jsonschema(), tool.args, tool.tool_call_schema.model_json_schema()):
        assert "runtime" not in json.dumps(schema)
