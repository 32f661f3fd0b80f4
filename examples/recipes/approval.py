"""A person decides before anything runs: `HumanInTheLoopMiddleware`.

The agent stops at each call of the sandbox. Here one is approved, one is rewritten and one is rejected: what runs is
what the person let through, word by word. To decide on what a run changed, see `review.py`.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import Any

import httpx
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langchain_sandbox import ModelEndpoint, Sandbox, SandboxTool
from langchain_sandbox.testing import ScriptedModel, Turn

DECISIONS: dict[str, dict[str, Any]] = {
    "approve": {"type": "approve"},
    "edit": {
        "type": "edit",
        "edited_action": {"name": "run_in_sandbox", "args": {"task": "List the files. Delete nothing."}},
    },
    "reject": {"type": "reject", "message": "Not today."},
}


def main() -> int:
    """Ask three times and decide in three ways; the exit code is 0 if only the other two ran."""
    with ExitStack() as stack:
        leader, coder = choose_models(stack)
        tool = SandboxTool(sandbox=Sandbox(model=coder))
        gate = HumanInTheLoopMiddleware(interrupt_on={tool.name: {"allowed_decisions": ["approve", "edit", "reject"]}})
        agent = create_agent(open_chat(leader), tools=[tool], middleware=[gate], checkpointer=InMemorySaver())
        ran = [name for name in DECISIONS if decide(agent, name)]
    print(f"Ran: {', '.join(ran)}")
    return 0 if ran == ["approve", "edit"] else 1


def decide(agent: Any, name: str) -> bool:  # noqa: ANN401 - LangGraph's type has four parameters
    """Ask the agent, give it the person's decision, and tell whether a sandbox ran."""
    config = {"configurable": {"thread_id": name}}
    paused = agent.invoke({"messages": [("user", "Tidy up the repository.")]}, config)
    (wanted,) = paused["__interrupt__"][0].value["action_requests"]
    print(f"[agent]   wants {wanted['name']}: {wanted['args']['task']}")
    print(f"[person]  {name}")
    state = agent.invoke(Command(resume={"decisions": [DECISIONS[name]]}), config)
    answers = [message for message in state["messages"] if isinstance(message, ToolMessage)]
    artifacts = [message.artifact for message in answers if message.artifact]
    for artifact in artifacts:
        print(f"[sandbox] {artifact['text']}")
    for message in answers:
        if not message.artifact:
            print(f"[tool]    {message.text}")
    return bool(artifacts)


def play_leader(messages: list[dict[str, Any]]) -> Turn:
    """A leader that wants more than it was asked for."""
    if messages[-1]["role"] == "tool":
        return {"text": "That is how it stands."}
    arguments = {"task": "Delete what nobody needs."}
    return {"tool_calls": [{"name": "run_in_sandbox", "arguments": arguments}]}


def play_coder(messages: list[dict[str, Any]]) -> Turn:
    """A coder that repeats what it was told."""
    return {"text": f"I was told: {messages[-1]['content']}"}


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
