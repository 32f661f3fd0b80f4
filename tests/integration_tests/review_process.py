"""A process that takes one thread of a review graph a part of its way, with a SQLite checkpointer, and may die there.

The arguments are the database, and the input: a task, or as JSON the answer to the question, or `null` to go on. With
`DIE=before:<channel>` or `DIE=after:<channel>` in the environment it kills itself when LangGraph is about to save that
a step has written to that channel of the state, or has just saved it; with `before:checkpoint` when it is about to save
all. `DURABILITY` is LangGraph's. Its last line says how the thread stands.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.errors import is_invalid_resume
from langgraph.types import Command
from pydantic import ValidationError

from langchain_sandbox import create_sandbox_graph

THREAD: Any = {"configurable": {"thread_id": "thread"}}


class MortalSaver(SqliteSaver):
    """Kills its process at a certain moment."""

    def put(self, *arguments: Any) -> Any:
        if os.environ.get("DIE") == "before:checkpoint":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().put(*arguments)

    def put_writes(self, config: Any, writes: Any, *arguments: Any) -> None:
        moment, _, channel = os.environ.get("DIE", "").partition(":")
        fatal = any(written == channel for written, _ in writes)
        if fatal and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().put_writes(config, writes, *arguments)
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def main(database: str, given: str) -> None:
    with MortalSaver.from_conn_string(database) as saver:
        graph = create_sandbox_graph(review=True, checkpointer=saver)
        try:
            graph.invoke(read_input(given), THREAD, durability=os.environ.get("DURABILITY", "sync"))
            refused = None
        except ValidationError as error:
            refused = is_invalid_resume(error)
        state = graph.get_state(THREAD)
    (asked, *_), results = [*state.interrupts, None], state.values.get("sandbox_results", [])
    texts = [message.text for message in state.values.get("messages", [])]
    print(json.dumps({"asked": asked and asked.value, "results": results, "texts": texts, "refused": refused}))


def read_input(given: str) -> Any:
    try:
        answer = json.loads(given)
    except ValueError:
        return {"messages": [("user", given)]}
    return None if answer is None else Command(resume=answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
