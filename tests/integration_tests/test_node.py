"""The node in real graphs: what it reads and writes, how it is retried, timed out and cancelled."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.errors import NodeTimeoutError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import RetryPolicy, Send, TimeoutPolicy
from support import bash, containers, make_repository, say, write

from langchain_sandbox import (
    Sandbox,
    SandboxConfigError,
    SandboxNode,
    SandboxResult,
    SandboxState,
    SandboxUnavailableError,
)
from langchain_sandbox.testing import ScriptedModel

SCRIPT = [bash("ls"), write("new.txt", "x\n"), say("Wrote it.\x1b[31m")]
ASK: Any = {"messages": [HumanMessage("Work.")]}
AT_ONCE = RetryPolicy(initial_interval=0.01, jitter=False)


def build(node: SandboxNode, **options: Any) -> Any:
    graph = StateGraph(SandboxState)
    graph.add_node("sandbox", node, **options)
    graph.add_edge(START, "sandbox")
    return graph.compile()


def check(state: dict[str, Any], events: list[dict[str, Any]]) -> None:
    asked, answer = state["messages"]
    assert asked.text == "Work."
    assert isinstance(answer, AIMessage)
    assert answer.name == "sandbox"
    assert "Wrote it." in answer.text
    assert "added new.txt" in answer.text
    assert "\x1b" not in answer.text
    (fields,) = state["sandbox_results"]
    result = SandboxResult.model_validate(fields)
    assert result.ok
    assert result.model_dump(mode="json") == fields
    assert [file.path for file in result.files] == ["new.txt"]
    assert (events[0]["type"], events[-1]["type"]) == ("started", "finished")
    assert {event["run_id"] for event in events} == {result.run_id}


def test_in_a_graph_it_writes_a_message_and_a_result(repository: Path) -> None:
    with ScriptedModel(SCRIPT) as model:
        app = build(SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository)))
        parts = list(app.stream(ASK, stream_mode=["custom", "values"]))
    check(parts[-1][1], [part["sandbox"] for mode, part in parts if mode == "custom"])


def test_async_it_never_blocks_the_loop(repository: Path) -> None:
    async def scenario() -> list[Any]:
        app = build(SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository)))
        with blockbuster_ctx("langchain_sandbox"):
            return [part async for part in app.astream(ASK, stream_mode=["custom", "values"])]

    with ScriptedModel(SCRIPT) as model:
        parts = asyncio.run(scenario())
    check(parts[-1][1], [part["sandbox"] for mode, part in parts if mode == "custom"])


def test_a_state_that_has_only_messages_gets_only_the_message(repository: Path) -> None:
    with ScriptedModel(SCRIPT) as model:
        node = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        graph = StateGraph(MessagesState)
        graph.add_node("sandbox", node)
        graph.add_edge(START, "sandbox")
        state = graph.compile().invoke(ASK)
    assert set(state) == {"messages"}
    assert "Wrote it." in state["messages"][-1].text


def test_outside_of_any_graph_it_is_a_runnable(repository: Path) -> None:
    with ScriptedModel(lambda _: say()) as model:
        node = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        for update in (node.invoke(ASK), asyncio.run(node.ainvoke({"sandbox_task": "Work."}))):
            assert [result["status"] for result in update["sandbox_results"]] == ["completed"]
        assert len(model.requests) == 2


def test_a_run_that_fails_is_returned(repository: Path) -> None:
    with ScriptedModel([{"text": ["half"], "fault": "cut"}]) as model:
        node = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        state = build(node, retry_policy=AT_ONCE).invoke(ASK)
    assert state["sandbox_results"][0]["ending"]["code"] == "answer_cut"
    assert "model_error" in state["messages"][-1].text


def test_repositories_side_by_side_each_have_their_run(tmp_path: Path) -> None:
    names = ["one", "two", "three"]
    folders = {name: make_repository(tmp_path / name, {f"{name}.txt": name}) for name in names}

    def answer(messages: list) -> dict:
        if messages[-1]["role"] == "tool":
            return say(f"I saw {messages[-1]['content']}")
        return bash("ls")

    def fan_out(_: SandboxState) -> list[Send]:
        return [Send("sandbox", {"sandbox_task": {"task": "Look.", "workspace": name}}) for name in names]

    with ScriptedModel(answer) as model:
        graph = StateGraph(SandboxState)
        graph.add_node("sandbox", SandboxNode(sandbox=Sandbox(model=model.endpoint), workspaces=folders))
        graph.add_conditional_edges(START, fan_out, ["sandbox"])
        app = graph.compile()
        states = [app.invoke({}), asyncio.run(app.ainvoke({}))]
    for state in states:
        results = {Path(result["workspace"]["root"]).name: result for result in state["sandbox_results"]}
        assert sorted(results) == sorted(names)
        assert all(f"I saw {name}.txt" in results[name]["text"] for name in names)
        assert len(state["messages"]) == 3


def test_typed_answers_come_as_plain_data(repository: Path) -> None:
    turn: Any = {"text": "", "tool_calls": [{"name": "StructuredOutput", "arguments": {"answer": ["a.py", "b.py"]}}]}
    with ScriptedModel([turn]) as model:
        node = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository), output=list[str])
        state = build(node).invoke(ASK)
    assert state["sandbox_results"][0]["structured"] == ["a.py", "b.py"]
    assert '["a.py","b.py"]' in state["messages"][-1].text


def test_a_nodes_own_command_takes_the_state_as_its_arguments(repository: Path) -> None:
    folder = repository / ".opencode" / "commands"
    folder.mkdir(parents=True)
    (folder / "greet.md").write_text("---\ndescription: Greet\n---\nGreet $ARGUMENTS.\n")

    def answer(messages: list) -> dict:
        return say(f"I was told: {messages[-1]['content']}")

    with ScriptedModel(answer) as model:
        node = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository), command="greet")
        free = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        state = build(node).invoke({"messages": [HumanMessage("the world")]})
        named = build(free).invoke({"sandbox_task": {"command": "greet", "arguments": "the moon"}})
        with pytest.raises(SandboxConfigError, match="no-such"):
            build(free).invoke({"sandbox_task": {"command": "no-such"}})
    assert "Greet the world." in state["sandbox_results"][0]["text"]
    assert state["sandbox_results"][0]["receipt"]["command"] == "greet"
    assert "Greet the moon." in named["sandbox_results"][0]["text"]


class MendedNode(SandboxNode):
    """Its engine is away at the first attempt and there at the second."""

    attempts = 0

    def invoke(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        self.attempts += 1
        if self.attempts == 1:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
                return super().invoke(*arguments, **named)
        return super().invoke(*arguments, **named)


def test_langgraphs_own_retry_policy_tries_again_when_the_engine_was_away(repository: Path) -> None:
    with ScriptedModel([say()]) as model:
        node = MendedNode(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        state = build(node, retry_policy=AT_ONCE).invoke(ASK)
    assert node.attempts == 2
    assert state["sandbox_results"][0]["ok"]


def test_without_a_retry_policy_a_missing_engine_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with ScriptedModel([]) as model:
        app = build(SandboxNode(sandbox=Sandbox(model=model.endpoint)))
        with pytest.raises(SandboxUnavailableError, match="No container engine answers"):
            app.invoke(ASK)
        with pytest.raises(SandboxUnavailableError, match="No container engine answers"):
            asyncio.run(app.ainvoke(ASK))


def test_what_cannot_work_is_raised_and_not_tried_again() -> None:
    with ScriptedModel([]) as model:
        node = MendedNode(sandbox=Sandbox(model=model.endpoint))
        app = build(node, retry_policy=AT_ONCE)
        with pytest.raises(SandboxConfigError, match="nothing to do"):
            app.invoke({})
        assert node.attempts == 1
        with pytest.raises(SandboxConfigError, match="NUL"):
            app.invoke({"sandbox_task": "a\0b"})
        assert model.requests == []


def never_ends(_: list) -> dict:
    return bash("sleep 600")


async def abort_the_stream(app: Any) -> None:
    async with aclosing(app.astream(ASK, stream_mode=["custom"])) as parts:
        async for _, part in parts:
            if part["sandbox"]["type"] == "tool_started":
                break


async def cancel_the_task(app: Any) -> None:
    working = asyncio.Event()

    async def watch() -> None:
        async for _, part in app.astream(ASK, stream_mode=["custom"]):
            if part["sandbox"]["type"] == "tool_started":
                working.set()

    task = asyncio.create_task(watch())
    await working.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def wait_in_vain(app: Any) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(app.ainvoke(ASK), 6)


@pytest.mark.parametrize("end", [abort_the_stream, cancel_the_task, wait_in_vain])
def test_a_graph_that_is_cancelled_leaves_no_container(repository: Path, client: Any, end: Any) -> None:
    async def scenario() -> None:
        await end(build(SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository))))
        assert containers(client) == []

    with ScriptedModel(never_ends) as model:
        asyncio.run(scenario())


# That a run which says something outlives an idle time-out is shown by examples/recipes/timeout_policy.py.


def test_an_attempt_that_is_timed_out_is_over_before_the_next_one_runs(repository: Path, client: Any) -> None:
    there: list[int] = []

    def answer(_: list) -> dict:
        there.append(len(containers(client)))
        return bash("sleep 600") if len(there) == 1 else say("The second.")

    retry = RetryPolicy(initial_interval=0.01, jitter=False, retry_on=NodeTimeoutError)
    with ScriptedModel(answer) as model:
        node = SandboxNode(sandbox=Sandbox(model=model.endpoint, workspace=repository))
        app = build(node, timeout=TimeoutPolicy(run_timeout=12), retry_policy=retry)
        state = asyncio.run(app.ainvoke(ASK))
    assert [result["text"] for result in state["sandbox_results"]] == ["The second."]
    assert there == [1, 1]
