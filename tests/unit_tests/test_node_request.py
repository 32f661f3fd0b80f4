"""From a state to what a run is asked for: what a state may say, and what it may not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import BaseModel

from langchain_sandbox import Sandbox, SandboxConfigError, SandboxNode
from langchain_sandbox.graph.request import build_request

SHOP = Path("shop")
PLACES = {"shop": SHOP, "site": "site"}


class Model(BaseModel):
    sandbox_task: Any = None
    messages: list[Any] = []


@dataclass
class Data:
    sandbox_task: Any = None
    messages: list[Any] = field(default_factory=list)


@pytest.mark.parametrize("kind", [dict, Model, Data])
def test_any_kind_of_state_will_do(kind: Any) -> None:
    assert build_request(kind(sandbox_task="Work.")) == {"task": "Work."}
    assert build_request(kind(messages=[HumanMessage("Work.")])) == {"task": "Work."}


@pytest.mark.parametrize(
    "messages",
    [
        [HumanMessage("First."), AIMessage("Yes."), HumanMessage("Work."), AIMessage("I will."), SystemMessage("Hm.")],
        [{"role": "user", "content": "Work."}],
        [("user", "Work.")],
        ["Work."],
        HumanMessage("Work."),
        [HumanMessage([{"type": "text", "text": "Wo"}, {"type": "text", "text": "rk."}])],
    ],
    ids=["last human", "dict", "pair", "text", "alone", "blocks"],
)
def test_the_last_human_words_are_the_task(messages: Any) -> None:
    request = build_request({"messages": messages})
    assert request == {"task": "Work."}
    assert type(request["task"]) is str


def test_a_task_comes_before_the_messages() -> None:
    said = {"messages": [HumanMessage("Rest.")]}
    assert build_request({"sandbox_task": "Work.", **said}) == {"task": "Work."}
    assert build_request({"sandbox_task": {"task": "Work.", "command": None}, **said}) == {"task": "Work."}
    assert build_request({"sandbox_task": None, **said}) == {"task": "Rest."}


def test_a_task_may_name_a_command_and_one_of_the_nodes_workspaces() -> None:
    wanted = {"command": "audit", "arguments": {"scope": "src"}, "workspace": "shop"}
    request = build_request({"sandbox_task": wanted}, workspaces=PLACES)
    assert request == {"command": "audit", "arguments": {"scope": "src"}, "workspace": SHOP}


def test_a_nodes_own_command_takes_the_state_as_its_arguments() -> None:
    assert build_request({"sandbox_task": "src"}, command="audit") == {"command": "audit", "arguments": "src"}
    said = {"messages": [HumanMessage("lib")]}
    assert build_request(said, command="audit") == {"command": "audit", "arguments": "lib"}
    assert build_request(said, command="audit", arguments={}) == {"command": "audit", "arguments": {}}
    assert build_request({}, command="audit") == {"command": "audit", "arguments": None}
    wanted = {"sandbox_task": {"arguments": {"scope": "src"}, "workspace": "site"}}
    request = build_request(wanted, command="audit", arguments={"scope": "all"}, workspaces=PLACES)
    assert request == {"command": "audit", "arguments": {"scope": "src"}, "workspace": "site"}
    request = build_request({"sandbox_task": {"workspace": "site"}}, command="audit", arguments="x", workspaces=PLACES)
    assert request == {"command": "audit", "arguments": "x", "workspace": "site"}


@pytest.mark.parametrize(
    "state", [{}, {"messages": []}, {"messages": [AIMessage("x")]}, {"messages": [HumanMessage(" ")]}, None]
)
def test_nothing_to_do_says_what_to_put_in(state: Any) -> None:
    with pytest.raises(SandboxConfigError, match=r"sandbox_task.*messages"):
        build_request(state)


@pytest.mark.parametrize("key", ["image", "changes", "timeout", "model", "sandbox", "output", "limits", "store", 7])
def test_what_is_the_hosts_to_decide_no_state_decides(key: Any) -> None:
    with pytest.raises(SandboxConfigError, match=r"it may hold task, command, arguments, workspace"):
        build_request({"sandbox_task": {"task": "Work.", key: "x"}})


@pytest.mark.parametrize("name", ["/", "/etc", "..", "./shop", "shop/", "", 7, ["shop"], {"path": "/"}, SHOP])
def test_a_workspace_that_is_not_the_nodes_is_refused(name: Any) -> None:
    with pytest.raises(SandboxConfigError, match=r"the node's workspaces= are: 'shop', 'site'"):
        build_request({"sandbox_task": {"task": "Work.", "workspace": name}}, workspaces=PLACES)
    with pytest.raises(SandboxConfigError, match="are: none"):
        build_request({"sandbox_task": {"task": "Work.", "workspace": name}})


@pytest.mark.parametrize("wanted", [7, ["Work."], True, object()])
def test_a_task_of_another_kind_is_refused(wanted: Any) -> None:
    with pytest.raises(SandboxConfigError, match="sandbox_task is a text, or a dict"):
        build_request({"sandbox_task": wanted})


def test_a_command_is_named_and_not_brought() -> None:
    with pytest.raises(SandboxConfigError, match="by a text"):
        build_request({"sandbox_task": {"command": {"template": "evil"}}})
    with pytest.raises(SandboxConfigError, match="a command of its own"):
        build_request({"sandbox_task": {"command": "other"}}, command="audit")


def test_messages_that_are_none_are_refused() -> None:
    with pytest.raises(SandboxConfigError, match="messages are none"):
        build_request({"messages": [{"role": "nobody", "content": "x"}]})
    with pytest.raises(SandboxConfigError, match="messages are none"):
        build_request({"messages": [7]})


@pytest.mark.parametrize(
    ("options", "word"), [({"arguments": "x"}, "command="), ({"workspaces": ["shop"]}, "folders by name")]
)
def test_a_node_that_cannot_work_is_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(SandboxConfigError, match=word):
        SandboxNode(sandbox=Sandbox(model="http://127.0.0.1:9/v1"), **options)
