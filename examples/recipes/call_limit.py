"""A brake on an agent that hands over task after task: `ToolCallLimitMiddleware`.

A sandbox bounds what one run may use; how many runs there are is up to the calling model. Here it has two for each
question and three for the whole conversation. A call beyond that is answered without a sandbox, and the agent ends.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import Any

import httpx
from langchain.agents import create_agent
from langchain.agents.middleware import ToolCallLimitMiddleware
from langchain_core.messages import ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

from langchain_sandbox import ModelEndpoint, Sandbox, SandboxTool
from langchain_sandbox.testing import ScriptedModel, Turn


def main() -> int:
    """Ask twice in one conversation; the exit code is 0 if the limits were kept."""
    with ExitStack() as stack:
        leader, coder = choose_models(stack)
        tool = SandboxTool(sandbox=Sandbox(model=coder))
        brake = ToolCallLimitMiddleware(tool_name=tool.name, run_limit=2, thread_limit=3, exit_behavior="end")
        agent = create_agent(open_chat(leader), tools=[tool], middleware=[brake], checkpointer=InMemorySaver())
        runs = 0
        for question in ("How many prime numbers are there below 1000?", "Are you sure?"):
            print(f"[user]    {question}")
            runs += ask(agent, question)
    print(f"{runs} runs in all")
    return 0 if runs <= brake.thread_limit else 1


def ask(agent: Any, question: str) -> int:  # noqa: ANN401 - LangGraph's type has four parameters
    """Put a question to the agent, print what it does, and count the runs."""
    runs = 0
    config = {"configurable": {"thread_id": "primes"}}
    for part in agent.stream({"messages": [("user", question)]}, config, stream_mode="updates"):
        for message in (message for update in part.values() if update for message in update.get("messages", [])):
            if isinstance(message, ToolMessage) and message.artifact:
                runs += 1
                print(f"[sandbox] {message.artifact['status']}: {message.artifact['text']}")
            elif message.text:
                print(f"[{message.type}]{' ' * (8 - len(message.type))}{message.text}")
    return runs


def play_leader(_messages: list[dict[str, Any]]) -> Turn:
    """A leader that is never content with an answer."""
    return {"tool_calls": [{"name": "run_in_sandbox", "arguments": {"task": "Count the primes below 1000."}}]}


def play_coder(messages: list[dict[str, Any]]) -> Turn:
    """A coder that runs a program and reads its output."""
    if messages[-1]["role"] == "tool":
        return {"text": f"There are {str(messages[-1]['content']).strip()}."}
    program = "print(sum(all(n % k for k in range(2, n)) for n in range(2, 1000)))"
    arguments = {"command": f"python3 -c '{program}'", "description": "Count primes"}
    return {"tool_calls": [{"name": "bash", "arguments": arguments}]}


def choose_models(stack: ExitStack) -> tuple[ModelEndpoint, ModelEndpoint]:
    """The calling agent's model and OpenCode's: your server, or stand-ins where there is none."""
    if os.environ.get("SANDBOX_MODEL_BASE_URL"):
        return ModelEndpoint.from_env(), ModelEndpoint.from_env()
    scripts = (play_leader, play_coder)
    leader, coder = (stack.enter_context(ScriptedModel(script)).endpoint for script in scripts)
    return leader, coder


def open_chat(endpoint: ModelEndpoint) -> ChatOpenAI:
    """The calling agent's model."""
    name = endpoint.name or httpx.get(f"{endpoint.base_url}/models").json()["data"][0]["id"]
    return ChatOpenAI(model=name, base_url=endpoint.base_url, api_key=endpoint.api_key or "none")  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
