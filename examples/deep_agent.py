"""Two deep agents mend the sample repository in a sandbox: one with its own hands, one by handing the task to OpenCode.

With SANDBOX_MODEL_BASE_URL set, all of them think with that server. Without it all are scripted, so that the whole path
can be seen with no model at hand: everything else is real.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from deepagents import create_deep_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from sample import AGENT_SCRIPT, TASK, make_repository

from langchain_sandbox import ModelEndpoint, Sandbox, SandboxResult
from langchain_sandbox.integrations.deepagents import SandboxBackend, create_sandbox_subagent
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from langchain_sandbox.testing import Turn

WIDTH = 110
PRICES = "/run/ws/repo/shop/prices.py"


def _call(name: str, **arguments: Any) -> Turn:  # noqa: ANN401 - a tool's arguments
    return {"text": "", "tool_calls": [{"name": name, "arguments": arguments}]}


HANDS_SCRIPT: list[Turn] = [
    _call("execute", command="python -m pytest -q 2>&1 | tail -n 1"),
    _call("read_file", file_path=PRICES),
    _call("edit_file", file_path=PRICES, old_string="* discount_percent", new_string="* (100 - discount_percent)"),
    _call("execute", command="python -m pytest -q 2>&1 | tail -n 1"),
    {"text": "total() kept only the discount. It takes it off now, and both tests pass."},
]
HANDING_SCRIPT: list[Turn] = [
    _call("task", description=TASK, subagent_type="opencode"),
    {"text": "OpenCode found and fixed the bug; its patch is ready to be applied."},
]


def main() -> int:
    """Run both; the exit code is 0 if both made the tests pass."""
    with ExitStack() as stack:
        repository = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shop-")))
        make_repository(repository)

        print("With its own hands")
        backend = stack.enter_context(SandboxBackend(workspace=repository))
        place = f"The repository is in {backend.root}; commands start there."
        ask(create_deep_agent(choose_chat(stack, HANDS_SCRIPT), backend=backend, system_prompt=place))
        tests = backend.execute("python -m pytest -q").exit_code
        by_hand = backend.finish()
        show(by_hand)

        print("\nBy handing it to OpenCode")
        sandbox = Sandbox(model=choose_endpoint(stack, AGENT_SCRIPT), workspace=repository)
        handed: list[SandboxResult] = []
        opencode = create_sandbox_subagent(sandbox=sandbox, on_result=handed.append)
        ask(create_deep_agent(choose_chat(stack, HANDING_SCRIPT), subagents=[opencode]))
        for result in handed:
            show(result)

        print(f"\nbackend.apply(...) changed: {', '.join(backend.apply(by_hand).paths)}")
        return 0 if tests == 0 and by_hand.ok and all(result.ok for result in handed) else 1


def choose_endpoint(stack: ExitStack, script: list[Turn]) -> ModelEndpoint:
    """The user's model server, or one that plays a script."""
    if os.environ.get("SANDBOX_MODEL_BASE_URL"):
        return ModelEndpoint.from_env()
    return stack.enter_context(ScriptedModel(script)).endpoint


def choose_chat(stack: ExitStack, script: list[Turn]) -> ChatOpenAI:
    """The same for the calling agent."""
    endpoint = choose_endpoint(stack, script)
    name = endpoint.name or httpx.get(f"{endpoint.base_url}/models").json()["data"][0]["id"]
    return ChatOpenAI(model=name, base_url=endpoint.base_url, api_key=endpoint.api_key or "none")  # type: ignore[arg-type]


def ask(agent: Any) -> None:  # noqa: ANN401 - LangGraph's type has four parameters
    """Give the task to an agent, and print what it says and does."""
    for message in agent.invoke({"messages": [HumanMessage(TASK)]})["messages"]:
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                print_line("agent", f"{call['name']} {call['args']}")
            print_line("agent", message.text)
        elif isinstance(message, ToolMessage):
            print_line("tool", message.text)


def print_line(who: str, words: str) -> None:
    """The beginning of what somebody says, on one line."""
    if words:
        print(f"[{who:5}] {' '.join(words.split())}"[:WIDTH])


def show(result: SandboxResult) -> None:
    """How it ended, and what it changed."""
    print(f"{result.status} in {result.timings.total:.1f} s, changed: {', '.join(file.path for file in result.files)}")


if __name__ == "__main__":
    sys.exit(main())
