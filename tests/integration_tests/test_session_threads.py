"""Tasks of one thread of a graph in one session: what keys it, how it ends, and what is never done twice."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy
from support import containers, wait_until
from test_session import obey

from langchain_sandbox import (
    Sandbox,
    SandboxNode,
    SandboxResult,
    SandboxState,
    SandboxToolkit,
    create_sandbox_graph,
)
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import docker

ANEW = "The thread's session was over"


@pytest.fixture
def sandbox(repository: Path) -> Iterator[Sandbox]:
    with ScriptedModel(obey) as model, Sandbox(model=model.endpoint, workspace=repository) as made:
        yield made


def thread(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


def ask(graph: Any, name: str, task: str) -> SandboxResult:
    state = graph.invoke({"sandbox_task": task}, thread(name))
    return SandboxResult.model_validate(state["sandbox_results"][-1])


def test_a_threads_tasks_are_one_conversation_and_no_step_runs_twice(
    sandbox: Sandbox, client: docker.DockerClient
) -> None:
    failed = []

    def fail_once(_: SandboxState) -> dict[str, Any]:
        if not failed:
            failed.append(1)
            msg = "once"
            raise ConnectionError(msg)
        return {}

    node = pickle.loads(pickle.dumps(SandboxNode(sandbox=sandbox, session_ttl=300)))
    inner = (node | RunnableLambda(lambda update: update | fail_once(update))).with_config(run_name="step")
    graph: Any = StateGraph(SandboxState)
    graph.add_node("sandbox", inner, retry_policy=RetryPolicy(initial_interval=0.01))
    graph.add_edge(START, "sandbox")
    graph = graph.compile(checkpointer=InMemorySaver())
    try:
        assert ask(graph, "a", "$ echo 1 >> /tmp/log; wc -l < /tmp/log").text == "It said: 1"
        assert failed  # the step was taken twice
        again = ask(graph, "a", "$ echo 2 >> /tmp/log; wc -l < /tmp/log")
        assert (again.text, again.warnings) == ("It said: 2", [])
        assert ask(graph, "b", "$ wc -l < /tmp/log").text.count("No such file") == 1
        assert len(containers(client, dead=False)) == 2
        broken = ask(graph, "a", "fail")
        assert not broken.ok
        anew = ask(graph, "a", "$ cat /tmp/log")
        assert "No such file" in anew.text
        assert any(warning.startswith(ANEW) for warning in anew.warnings)
    finally:
        node.sandbox.close()
    assert containers(client, dead=False) == []


def test_a_toolkits_tools_share_it_and_it_ends_when_nobody_comes(
    sandbox: Sandbox, repository: Path, client: docker.DockerClient
) -> None:
    (tool,) = SandboxToolkit.from_repo(
        repository, sandbox=sandbox, include=["run_in_sandbox"], session_ttl=1.5
    ).get_tools()

    def call(task: str, config: Any) -> Any:
        message = tool.invoke({"type": "tool_call", "name": tool.name, "id": task, "args": {"task": task}}, config)
        return message.artifact

    call("$ echo 1 > /tmp/log", thread("a"))
    (name,) = containers(client, dead=False)
    assert call("$ cat /tmp/log", thread("a"))["text"] == "It said: 1"
    alone = call("$ cat /tmp/log", {})
    assert "No such file" in alone["text"]
    wait_until(lambda: name not in containers(client, dead=False), 10)
    anew = call("$ cat /tmp/log", thread("a"))
    assert any(warning.startswith(ANEW) for warning in anew["warnings"])


def test_a_review_goes_on_from_what_was_accepted_only(
    sandbox: Sandbox, repository: Path, client: docker.DockerClient
) -> None:
    graph = create_sandbox_graph(sandbox=sandbox, review=True, session_ttl=300, checkpointer=InMemorySaver())

    def run(task: str, *answers: dict[str, str]) -> SandboxResult:
        state = graph.invoke({"sandbox_task": task}, thread("a"))
        for answer in answers:
            state = graph.invoke(Command(resume=answer), thread("a"))
        return SandboxResult.model_validate(state["sandbox_results"][-1])

    accepted = run("$ echo 1 > one; echo 1 > /tmp/log", {"type": "accept"})
    assert (accepted.applied, (repository / "one").read_text()) == (True, "1\n")
    rejected = run("$ cat /tmp/log; echo 2 > two", {"type": "reject"})
    assert rejected.text == "It said: 1"
    wait_until(lambda: not containers(client, dead=False), 10)
    revised = run("$ ls; echo 3 > three", {"type": "changes", "comment": "$ echo 4 > four"}, {"type": "accept"})
    assert revised.settings.revises is not None
    assert {path.name for path in repository.iterdir()} >= {"one", "three"}
    assert not (repository / "two").exists()


def test_a_message_in_a_graph_without_threads_is_a_run_of_its_own(
    sandbox: Sandbox, client: docker.DockerClient
) -> None:
    node = SandboxNode(sandbox=sandbox, session_ttl=300)
    update = node.invoke({"messages": [HumanMessage("Hello.")]})
    assert update["sandbox_results"][0]["status"] == "completed"
    assert containers(client, dead=False) == []
