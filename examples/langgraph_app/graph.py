"""An agent with a repository's tools, each run in a sandbox, served by LangGraph's own server.

    pip install langchain-opencode-sandbox langchain langchain-openai "langgraph-cli[inmem]"
    export SANDBOX_MODEL_BASE_URL=http://127.0.0.1:8000/v1     # vLLM, for the agent and for OpenCode; it has to be up
    export SANDBOX_WORKSPACE=path/to/repository
    langgraph dev --config examples/langgraph_app/langgraph.json

The sandbox never blocks the server's event loop, so `--allow-blocking` is not needed. A run that a client streams with
`stream_mode="custom"` shows what happens in the sandbox; one that it cancels takes its container with it.
"""

from __future__ import annotations

import os
from typing import Any

import httpx
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

from langchain_sandbox import ModelEndpoint, SandboxToolkit

PROMPT = "You lead a coding agent. Hand it whole tasks with your tools, and say in one sentence what came of it."


def build_graph() -> Any:  # noqa: ANN401 - LangGraph's type has four parameters
    """The agent, with everything else from the environment."""
    endpoint = ModelEndpoint.from_env()
    name = endpoint.name or httpx.get(f"{endpoint.base_url}/models").json()["data"][0]["id"]
    model = ChatOpenAI(model=name, base_url=endpoint.base_url, api_key=endpoint.api_key or "none")  # type: ignore[arg-type]
    toolkit = SandboxToolkit.from_repo(os.environ["SANDBOX_WORKSPACE"])
    return create_agent(model, tools=toolkit.get_tools(), system_prompt=PROMPT)


graph = build_graph()
