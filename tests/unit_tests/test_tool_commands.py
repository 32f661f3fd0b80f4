"""Each command is a tool with the arguments of its file; what runs is what was loaded; bad files hurt nobody else."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from pydantic import BaseModel, ValidationError

from langchain_sandbox.commands.command import Argument, Command
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.sandbox import Sandbox
from langchain_sandbox.tools import CommandTool, SandboxToolkit, aload_command_tools, load_command_tools
from langchain_sandbox.tools.command_tool import MAX_DESCRIPTION

MODEL = "http://127.0.0.1:9/v1"


class Recorder(CommandTool):
    """Keeps what would be run, and runs nothing."""

    seen: list[dict] = []  # noqa: RUF012 - pydantic copies it

    def _run(self, arguments: dict, **_: Any) -> Any:
        self.seen.append(self._request(arguments))
        return "seen", {}


def command(*arguments: Argument, **fields: Any) -> Command:
    plain = {"name": "team/deploy", "template": "Do $1.", "source": "deploy.md", "digest": "0" * 64}
    return Command(**{**plain, "arguments": arguments, **fields})


def recorder(*arguments: Argument, **fields: Any) -> Recorder:
    return Recorder(command=command(*arguments), sandbox=Sandbox(model=MODEL), **fields)


def parameters(tool: Any) -> dict:
    return convert_to_openai_tool(tool)["function"]["parameters"]


def in_tool_node(tool: Any, arguments: dict) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "tools")
    calls = [{"name": tool.name, "args": arguments, "id": "call-1", "type": "tool_call"}]
    return graph.compile().invoke({"messages": [AIMessage("", tool_calls=calls)]})["messages"][-1]


def test_a_model_is_told_of_the_arguments_as_the_file_declares_them() -> None:
    tool = recorder(
        Argument(name="target", description="What to deploy."),
        Argument(name="count", type="integer", required=False, default=2),
        Argument(name="share", type="number", required=False),
        Argument(name="dry", type="boolean", required=False, default=False),
        Argument(name="stage", enum=("dev", "prod"), required=False, default="dev"),
        Argument(name="level", type="integer", enum=(1, 2), required=False),
    )
    told = parameters(tool)
    assert told["required"] == ["target"]
    assert told["additionalProperties"] is False
    assert told["properties"] == {
        "target": {"type": "string", "description": "What to deploy."},
        "count": {"type": "integer", "default": 2},
        "share": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "dry": {"type": "boolean", "default": False},
        "stage": {"type": "string", "enum": ["dev", "prod"], "default": "dev"},
        "level": {"anyOf": [{"type": "integer", "enum": [1, 2]}, {"type": "null"}], "default": None},
    }
    assert list(tool.args) == list(told["properties"])


@pytest.mark.parametrize("way", ["invoke", "ToolNode"])
def test_values_arrive_by_name_with_what_is_usual_for_the_rest(way: str) -> None:
    tool = recorder(
        Argument(name="target"),
        Argument(name="count", type="integer", required=False, default=2),
        Argument(name="share", type="number", required=False),
        Argument(name="dry", type="boolean", required=False, default=False),
        changes="discard",
    )
    given = [
        {"target": "a 'b' $1"},
        {"target": "x", "count": 3, "share": 1, "dry": True},
        {"target": "x", "share": None},
    ]
    for arguments in given:
        tool.invoke(arguments) if way == "invoke" else in_tool_node(tool, arguments)
    assert [seen["arguments"] for seen in tool.seen] == [
        {"target": "a 'b' $1", "count": 2, "dry": False},
        {"target": "x", "count": 3, "share": 1, "dry": True},
        {"target": "x", "count": 2, "dry": False},
    ]
    assert all(seen["command"] is tool.command for seen in tool.seen)
    assert {seen["changes"] for seen in tool.seen} == {"discard"}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "target"),
        ({"target": 7}, "target"),
        ({"target": None}, "target"),
        ({"target": "x", "count": "many"}, "count"),
        ({"target": "x", "stage": "moon"}, "stage"),
        ({"target": "x", "workspace": "/"}, "workspace"),
        ({"target": "x", "command": "other"}, "command"),
        ({"target": "x", "arguments": {"target": "y"}}, "arguments"),
        ({"target": "x", "argument_0": "y"}, "argument_0"),
        ({"target": "x", "timeout": 9}, "timeout"),
        ({"target": "x", "tool_call_id": "forged"}, "tool_call_id"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(arguments: dict, word: str) -> None:
    tool = recorder(
        Argument(name="target"),
        Argument(name="count", type="integer", required=False, default=2),
        Argument(name="stage", enum=("dev", "prod"), required=False, default="dev"),
    )
    with pytest.raises(ValidationError, match=word):
        tool.invoke(arguments)
    message = in_tool_node(tool, arguments)
    assert message.status == "error"
    assert f"{word}: " in message.content
    assert tool.seen == []


AWKWARD = [
    *("from", "class", "self", "cls", "args", "kwargs", "title", "argument_0", "argument_1", "x" * 40),
    *("schema", "json", "copy", "dict", "validate", "model_config", "model_dump", "model_fields"),
    *("config", "run_manager", "callbacks", "command", "sandbox", "output"),
]


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("required", ["required", "optional"])
def test_an_arguments_name_may_be_a_word_of_pythons_or_pydantics(name: str, required: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tool = recorder(
            Argument(name="first"),
            Argument(name=name, required=required == "required", default=None if required == "required" else "usual"),
        )
        assert set(parameters(tool)["properties"]) == {"first", name}
        tool.invoke({"first": "1", name: "v"})
    assert in_tool_node(tool, {"first": "1", name: "v"}).status == "success"
    if required == "optional":
        tool.invoke({"first": "1"})
    values = [{"first": "1", name: "v"}] * 2 + [{"first": "1", name: "usual"}] * (required == "optional")
    assert [seen["arguments"] for seen in tool.seen] == values


def test_a_command_without_arguments_takes_none_and_one_with_takes_a_text() -> None:
    without, with_one = recorder(), recorder(Argument(name="scope", required=False, default=""))
    without.invoke({})
    assert parameters(without)["properties"] == {}
    with pytest.raises(ValidationError, match="arguments"):
        without.invoke("src")
    with_one.invoke("src")
    with_one.invoke({})
    assert [seen["arguments"] for seen in without.seen + with_one.seen] == [{}, {"scope": "src"}, {"scope": ""}]


def test_a_tool_says_what_it_does_and_where_it_is_from() -> None:
    made = command(
        Argument(name="target"),
        description="Deploys\n \x1b[31m\u202eit.",
        agent="plan",
        template="Look at !`git status` and @README.md for $1.",
        source="/r/.opencode/commands/team/deploy.md",
    )
    tool = CommandTool(command=made, sandbox=Sandbox(model=MODEL))
    assert tool.name == "team-deploy"
    assert tool.description.startswith("Deploys [31mit. (Runs the command /team/deploy ")
    assert json.loads(json.dumps(tool.metadata)) == {
        "command": "team/deploy",
        "source": "/r/.opencode/commands/team/deploy.md",
        "sha256": "0" * 64,
        "agent": "plan",
        "shell": ["git status"],
        "files": ["README.md"],
    }


@pytest.mark.parametrize("description", ["", "x" * 5000])
def test_a_description_is_there_and_not_too_long(description: str) -> None:
    tool = CommandTool(command=command(description=description), sandbox=Sandbox(model=MODEL))
    assert 0 < len(tool.description) <= MAX_DESCRIPTION
    assert "isolated container" in tool.description


class Answer(BaseModel):
    verdict: str


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda tool: pickle.loads(pickle.dumps(tool)), lambda tool: tool.model_copy()],
)
def test_a_command_tool_copies_and_pickles_as_its_configuration(duplicate: Any) -> None:
    made = command(Argument(name="from"), output={"type": "object"})
    tool = CommandTool(command=made, sandbox=Sandbox(model=MODEL), output=Answer, changes="discard")
    assert parameters(tool)
    copied = duplicate(tool)
    for name in ("name", "description", "metadata", "command", "output", "changes"):
        assert getattr(copied, name) == getattr(tool, name)
    assert vars(copied.sandbox) == vars(tool.sandbox)
    assert parameters(copied) == parameters(tool)
    with pytest.raises(ValidationError, match="from"):
        copied.invoke({})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository" / ".opencode" / "commands"
    (folder / "team").mkdir(parents=True)
    (folder / "team" / "deploy.md").write_text("---\ndescription: Deploys it.\n---\nDeploy $1 to $2.\n")
    (folder / "tidy.md").write_text("Tidy up $ARGUMENTS.\n")
    return tmp_path / "repository"


def test_a_toolkit_has_the_free_task_first_and_then_a_tool_for_each_command(repository: Path) -> None:
    toolkit = SandboxToolkit.from_repo(repository, sandbox=Sandbox(model=MODEL))
    names = [tool.name for tool in toolkit.get_tools()]
    assert names[0] == "run_in_sandbox"
    assert {"team-deploy", "tidy", "refactor-audit", "git-commit"} <= set(names)
    assert len(names) == len(set(names))
    assert toolkit.errors == []
    by_name = {tool.name: tool for tool in toolkit.get_tools()}
    assert parameters(by_name["team-deploy"])["required"] == ["arg1", "arg2"]
    assert "required" not in parameters(by_name["tidy"])
    assert [tool.name for tool in load_command_tools(repository, sandbox=Sandbox(model=MODEL))] == names[1:]


def test_in_a_loop_the_files_are_read_beside_it(repository: Path) -> None:
    async def load() -> tuple[list, list]:
        sandbox = Sandbox(model=MODEL)
        with blockbuster_ctx("langchain_sandbox"):
            toolkit = await SandboxToolkit.afrom_repo(repository, sandbox=sandbox, include=["run_in_sandbox", "tidy"])
            return toolkit.get_tools(), await aload_command_tools(repository, sandbox=sandbox, include=["tidy"])

    tools, commands = asyncio.run(load())
    assert [tool.name for tool in tools] == ["run_in_sandbox", "tidy"]
    assert [tool.name for tool in commands] == ["tidy"]


def test_without_a_sandbox_the_repository_is_the_workspace(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_MODEL_BASE_URL", MODEL)
    tools = [*SandboxToolkit.from_repo(repository).get_tools(), *load_command_tools(str(repository))]
    assert {tool.sandbox.workspace.path for tool in tools} == {repository}
    monkeypatch.delenv("SANDBOX_MODEL_BASE_URL")
    with pytest.raises(SandboxConfigError, match="SANDBOX_MODEL_BASE_URL"):
        SandboxToolkit.from_repo(repository)


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        (["team/*", "tidy"], None, {"team-deploy", "tidy"}),
        (["team-*"], None, {"team-deploy"}),
        (["/tidy"], None, {"tidy"}),
        (["run_in_sandbox", "tidy"], None, {"run_in_sandbox", "tidy"}),
        (["t*"], ["team/*"], {"tidy"}),
        ([], None, set()),
        (["*"], ["*"], set()),
    ],
)
def test_some_are_picked_by_pattern(repository: Path, include: Any, exclude: Any, names: set) -> None:
    sandbox = Sandbox(model=MODEL)
    toolkit = SandboxToolkit.from_repo(repository, sandbox=sandbox, include=include, exclude=exclude)
    assert {tool.name for tool in toolkit.get_tools()} == names


def test_what_is_left_out_is_only_that(repository: Path) -> None:
    sandbox = Sandbox(model=MODEL)
    every = {tool.name for tool in SandboxToolkit.from_repo(repository, sandbox=sandbox).get_tools()}
    kept = {tool.name for tool in SandboxToolkit.from_repo(repository, sandbox=sandbox, exclude=["git-*"]).get_tools()}
    assert every - kept == {"git-commit"}


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_a_pattern_that_fits_nothing_is_refused_with_what_there_is(repository: Path, option: str) -> None:
    with pytest.raises(SandboxConfigError, match=rf"{option}: .*'deplyo'.*run_in_sandbox.*team/deploy.*tidy"):
        SandboxToolkit.from_repo(repository, sandbox=Sandbox(model=MODEL), **{option: ["deplyo"]})
    with pytest.raises(SandboxConfigError, match=f"{option} is a list"):
        SandboxToolkit.from_repo(repository, sandbox=Sandbox(model=MODEL), **{option: "tidy"})


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxConfigError, match="no folder"):
        SandboxToolkit.from_repo(tmp_path / "gone", sandbox=Sandbox(model=MODEL))


def test_a_file_that_cannot_be_used_is_named_and_logged_and_the_others_are_there(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = repository / ".opencode" / "commands"
    (folder / "bomb.md").write_text("---\na: &a [x]\nb: [*a, *a]\n---\nText.\n")
    (folder / "wrong.md").write_text("---\ntimeout: soon\n---\nText.\n")
    (folder / "run_in_sandbox.md").write_text("Pretend to be the other.\n")
    with caplog.at_level(logging.WARNING, "langchain_sandbox"):
        toolkit = SandboxToolkit.from_repo(repository, sandbox=Sandbox(model=MODEL))
    names = [tool.name for tool in toolkit.get_tools()]
    assert names.count("run_in_sandbox") == 1
    assert {"team-deploy", "tidy"} <= set(names)
    assert not {"bomb", "wrong"} & set(names)
    assert {Path(error.path).name for error in toolkit.errors} == {"bomb.md", "wrong.md", "run_in_sandbox.md"}
    logged = [record.getMessage() for record in caplog.records]
    assert all(any(str(error) in line for line in logged) for error in toolkit.errors)


def test_what_runs_is_what_was_loaded(repository: Path) -> None:
    (tool,) = load_command_tools(repository, sandbox=Sandbox(model=MODEL), include=["tidy"])
    file = repository / ".opencode" / "commands" / "tidy.md"
    file.write_text("Something else.\n")
    request = tool._request({"argument_0": "src"})
    assert request["command"].template == "Tidy up $ARGUMENTS."
    assert request["arguments"] == {"arguments": "src"}
