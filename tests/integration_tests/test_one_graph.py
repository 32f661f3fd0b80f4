"""One graph with three agents over one repository: one has it audited, one has it committed, one is cut off."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest
from agents import answers, call, calling_model, calls, wait_for
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from support import bash, containers, git, make_repository, say, write

from langchain_sandbox import Sandbox, SandboxResult, SandboxToolkit
from langchain_sandbox.testing import ScriptedModel, Turn

AUDIT = {
    "summary": "The sum is a difference.",
    "findings": [
        {
            "file": "calc.py",
            "line_start": 1,
            "line_end": 2,
            "kind": "naming",
            "severity": "high",
            "why": "add subtracts",
            "suggestion": "Use +.",
        }
    ],
}
COMMIT = bash("git add calc.py && git commit -qm 'fix(calc): add adds' && git log --oneline")


def test_audited_committed_and_cut_off(tmp_path: Path, client: docker.DockerClient) -> None:
    repository = make_repository(tmp_path / "repository", {"calc.py": "def add(a, b):\n    return a - b\n"})
    (repository / "calc.py").write_text("def add(a, b):\n    return a + b\n")
    git(repository, "add", "calc.py")
    with ExitStack() as stack:

        def agent(command: str, *turns: Turn) -> Any:
            """An agent with all of the repository's tools, whose model calls one."""
            inner = stack.enter_context(ScriptedModel(turns))
            chat = stack.enter_context(calling_model(calls(call(command, call_id=command)), say("It is done.")))
            sandbox = Sandbox(model=inner.endpoint, workspace=repository, changes="apply")
            return create_agent(chat, tools=SandboxToolkit.from_repo(repository, sandbox=sandbox).get_tools())

        typed: Turn = {"text": "", "tool_calls": [{"name": "StructuredOutput", "arguments": AUDIT}]}
        graph = StateGraph(MessagesState)
        graph.add_node("auditor", agent("refactor-audit", bash("cat calc.py"), typed))
        graph.add_node("committer", agent("git-commit", COMMIT, say("Committed.")))
        graph.add_node("mender", agent("fix-tests", write("calc.py", "broken\n"), bash("sleep 600")))
        graph.add_edge(START, "auditor")
        graph.add_edge("auditor", "committer")
        graph.add_edge("committer", "mender")
        found, state = asyncio.run(run_and_cut_off(graph.compile(checkpointer=InMemorySaver()), client))
    audited = SandboxResult.model_validate(found["refactor-audit"].artifact)
    assert audited.structured == AUDIT
    committed = SandboxResult.model_validate(found["git-commit"].artifact)
    assert committed.applied
    assert [commit.subject for commit in committed.commits] == ["fix(calc): add adds"]
    assert git(repository, "rev-parse", "main") == committed.commits[-1].id
    assert git(repository, "status", "--porcelain") == ""
    assert state.next == ("mender",)
    assert containers(client) == []
    assert (repository / "calc.py").read_text() == "def add(a, b):\n    return a + b\n"


async def run_and_cut_off(graph: Any, client: docker.DockerClient) -> tuple[dict[str, Any], Any]:
    """Run the graph until the third agent's sandbox works, and cancel it there."""
    config = {"configurable": {"thread_id": "1"}}
    working = asyncio.Event()

    async def watch() -> None:
        question = {"messages": [HumanMessage("See to it.")]}
        async for _, part in graph.astream(question, config, stream_mode="custom", subgraphs=True):
            event = part["sandbox"]
            if event["type"] == "tool_started" and event["input"].get("command") == "sleep 600":
                working.set()

    task = asyncio.create_task(watch())
    await wait_for(working, task)
    assert len(containers(client)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    state = await graph.aget_state(config)
    return answers(state.values), state
