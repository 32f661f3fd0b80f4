"""A sandbox whose changes a person accepts or rejects, served by LangGraph's own server beside `graph.py`.

The server keeps the threads, so the graph has no checkpointer of its own. A client finds the question in the thread's
interrupts, and answers with `command={"resume": {"type": "accept"}}`.
"""

from __future__ import annotations

from langchain_sandbox import create_sandbox_graph

graph = create_sandbox_graph(review=True)
