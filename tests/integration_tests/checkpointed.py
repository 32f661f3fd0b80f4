"""A process with an agent whose state is in SQLite: `write DB CALLER SANDBOX REPOSITORY` runs it, `read DB` looks."""

from __future__ import annotations

import json
import sys
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver

from langchain_sandbox import Sandbox, SandboxTool

CONFIG = {"configurable": {"thread_id": "one"}}


def main(
    mode: str, database: str, caller: str = "http://127.0.0.1:9/v1", sandbox: str = "", repository: str = ""
) -> None:
    chat = ChatOpenAI(model="scripted-model", base_url=caller, api_key="none", max_retries=0)
    with SqliteSaver.from_conn_string(database) as saver:
        inner = Sandbox(model=sandbox or caller, workspace=repository or None)
        agent = create_agent(chat, tools=[SandboxTool(sandbox=inner, output={"type": "object"})], checkpointer=saver)
        if mode == "write":
            agent.invoke({"messages": [HumanMessage("Please have it written.")]}, CONFIG)
        print(json.dumps(describe(agent.get_state(CONFIG).values["messages"])))


def describe(messages: list[Any]) -> dict:
    (answer,) = [message for message in messages if message.type == "tool"]
    return {
        "types": [type(message).__name__ for message in messages],
        "artifact": answer.artifact,
        "content": answer.content,
        "status": answer.status,
        "tool_call_id": answer.tool_call_id,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
