"""A process that runs one thread of a graph with a SQLite checkpointer, and may die on the way.

The arguments are the database, and what to do: `run` begins the thread and `resume` goes on with it; `die` begins it
and kills this process when the sandbox is done, before LangGraph has heard of it. Lines on standard output say how far
it is; the last one is the thread's state.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph

from langchain_sandbox import SandboxNode, SandboxState

THREAD: Any = {"configurable": {"thread_id": "thread"}}


class MortalNode(SandboxNode):
    """Kills its process when its work is done."""

    def invoke(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        super().invoke(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        return {}


def main(database: str, what: str) -> None:
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    logging.getLogger("langchain_sandbox.runs_once").setLevel(logging.INFO)
    graph = StateGraph(SandboxState)
    graph.add_node("sandbox", MortalNode() if what == "die" else SandboxNode())
    graph.add_edge(START, "sandbox")
    with SqliteSaver.from_conn_string(database) as saver:
        given = None if what == "resume" else {"messages": [("user", "Work.")]}
        app = graph.compile(checkpointer=saver)
        for _, event in app.stream(given, THREAD, stream_mode=["custom"], durability="sync"):
            print(event["sandbox"]["type"], flush=True)
        state = app.get_state(THREAD).values
    print(json.dumps([state["sandbox_results"], [message.text for message in state["messages"]]]))


if __name__ == "__main__":
    main(*sys.argv[1:])
