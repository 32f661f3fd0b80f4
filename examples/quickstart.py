"""An agent in a LangGraph graph hands a coding task to a sandbox; run it with `make demo`.

With SANDBOX_MODEL_BASE_URL set, both the calling agent and OpenCode think with that server. Without it both are
scripted, so that the whole path can be seen with no model at hand: everything else is real.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from sample import AGENT_SCRIPT, CALLER_SCRIPT, TASK, make_repository

from langchain_sandbox import ModelEndpoint, Sandbox, SandboxResult, SandboxTool
from langchain_sandbox.activity import describe_event
from langchain_sandbox.testing import ScriptedModel

WIDTH = 110


def main() -> int:
    """Run the demo; the exit code is 0 if the sample's tests are green in the end."""
    with ExitStack() as stack:
        caller, agent = choose_models(stack)
        repository = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shop-")))
        make_repository(repository)
        print(f"The sample repository's tests, before: {run_tests(repository)}\n")

        sandbox = Sandbox(model=agent, workspace=repository)
        result = ask(build_graph(caller, SandboxTool(sandbox=sandbox)))
        show(result)

        print(f"\nsandbox.apply(result) changed: {', '.join(sandbox.apply(result).paths)}")
        after = run_tests(repository)
        print(f"The sample repository's tests, after: {after}")
        command = os.path.relpath(Path(sys.executable).with_name("langchain-sandbox"))
        print(f"The whole run as a page: {command} show {result.run_id} --open")
        return 0 if result.ok and "failed" not in after else 1


def choose_models(stack: ExitStack) -> tuple[ModelEndpoint, ModelEndpoint]:
    """The calling agent's model and OpenCode's."""
    if os.environ.get("SANDBOX_MODEL_BASE_URL"):
        endpoint = ModelEndpoint.from_env()
        print(f"Models: both the caller and OpenCode use {endpoint.base_url}")
        return endpoint, endpoint
    print("Models: SANDBOX_MODEL_BASE_URL is not set, so the caller's and OpenCode's are both scripted stand-ins.")
    caller = stack.enter_context(ScriptedModel(CALLER_SCRIPT))
    agent = stack.enter_context(ScriptedModel(AGENT_SCRIPT))
    return caller.endpoint, agent.endpoint


def build_graph(endpoint: ModelEndpoint, tool: SandboxTool) -> Any:  # noqa: ANN401 - LangGraph's type has four parameters
    """The smallest agent: a model that may call the tool, and the tool."""
    name = endpoint.name or httpx.get(f"{endpoint.base_url}/models").json()["data"][0]["id"]
    chat = ChatOpenAI(model=name, base_url=endpoint.base_url, api_key=endpoint.api_key or "none")  # type: ignore[arg-type]
    model = chat.bind_tools([tool])
    graph = StateGraph(MessagesState)
    graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition)
    graph.add_edge("tools", "agent")
    return graph.compile()


def ask(graph: Any) -> SandboxResult:  # noqa: ANN401 - as above
    """Give the task to the graph and print what happens while it does."""
    artifact: dict[str, Any] = {}
    question = {"messages": [HumanMessage(TASK)]}
    for mode, part in graph.stream(question, stream_mode=["updates", "custom"]):
        if mode == "custom":
            print_event(part["sandbox"])
            continue
        for message in (message for node in part.values() for message in node["messages"]):
            if isinstance(message, AIMessage):
                print(f"[caller]  {message.text}")
            elif isinstance(message, ToolMessage):
                artifact = message.artifact
    return SandboxResult.model_validate(artifact)


def print_event(event: dict[str, Any]) -> None:
    """One line for each event of the run that says something."""
    words = describe_event(event)
    if words:
        print(f"[{event['at']:6.2f} s] {words}"[:WIDTH])


def show(result: SandboxResult) -> None:
    """Print what came of it."""
    usage, timings = result.usage, result.timings
    print(f"\nStatus:  {result.status}. {result.ending.message} {result.ending.hint}".rstrip())
    print(f"Text:    {result.text}")
    print(f"Tokens:  {usage.prompt_tokens} in, {usage.completion_tokens} out, in {usage.model_calls} model calls")
    print(
        f"Seconds: container made {timings.created}, ready {timings.ready}, first model call "
        f"{timings.first_model_call}, work done {timings.worked}, all {timings.total}"
    )
    print(f"Patch:\n{result.patch}")


def run_tests(repository: Path) -> str:
    """The last line of pytest in a repository, outside of any sandbox."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    sys.exit(main())
