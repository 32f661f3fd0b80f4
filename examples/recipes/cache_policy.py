"""CachePolicy: ask the same of the same tree, and get the answer without a run.

LangGraph's own key is the node's input, which says nothing of the repository: the answer would stay the same however
the files change. So the key here is the task and the tree, the files that are not committed included. That suits
questions; for a task that changes files, think twice: its second result is for a tree that may have been changed by
the first one.

It is another thing than what the node does by itself: a step that is taken again, after an error or in another
process, gets the result of its run with no cache at all.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from langgraph.cache.memory import InMemoryCache
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy
from recipe import choose_model, git, make_repository, show

from langchain_sandbox import Sandbox, SandboxNode, SandboxState

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.testing import Turn

SCRIPT: list[Turn] = [{"text": "It greets in English."}, {"text": "It greets in French."}]
QUESTION: Any = {"sandbox_task": "In which language does greet.py greet?"}


def main() -> None:
    """Run the recipe."""
    with choose_model(SCRIPT) as model, make_repository() as repository:
        app = build_graph(Sandbox(model=model, workspace=repository, changes="discard"), repository)

        print("\nAsked for the first time, and again:")
        show(app.invoke(QUESTION)["sandbox_results"][-1])
        show(app.invoke(QUESTION)["sandbox_results"][-1])

        print("\nThe file has changed:")
        (repository / "greet.py").write_text('print("Bonjour")\n', encoding="utf-8")
        show(app.invoke(QUESTION)["sandbox_results"][-1])

        print("\nAs it was at first:")
        git(repository, "checkout", "--quiet", "greet.py")
        show(app.invoke(QUESTION)["sandbox_results"][-1])


def build_graph(sandbox: Sandbox, repository: Path) -> Any:  # noqa: ANN401 - LangGraph's type has four parameters
    """One node, whose answers are kept for an hour."""

    def build_key(state: dict[str, Any]) -> str:
        return f"{state['sandbox_task']!r} {describe_tree(repository)}"

    graph = StateGraph(SandboxState)
    graph.add_node("sandbox", SandboxNode(sandbox=sandbox), cache_policy=CachePolicy(key_func=build_key, ttl=3600))
    graph.add_edge(START, "sandbox")
    return graph.compile(cache=InMemoryCache())


def describe_tree(repository: Path) -> str:
    """The commit that is checked out, and all that differs from it."""
    digest = hashlib.sha256(git(repository, "diff", "HEAD", "--binary").encode())
    for name in git(repository, "ls-files", "--others", "--exclude-standard", "-z").split("\0"):
        if name:
            digest.update(name.encode() + (repository / name).read_bytes())
    return f"{git(repository, 'rev-parse', 'HEAD')} {digest.hexdigest()}"


if __name__ == "__main__":
    main()
