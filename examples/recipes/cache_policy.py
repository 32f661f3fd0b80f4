"""Ask the same of the same tree, and get the answer without a run: `CachePolicy`.

LangGraph's own key is the node's input, which says nothing of the repository: the answer would stay the same however
the files change. So the key here is the task and the tree, with what is not committed yet. That suits questions, and
`changes="discard"`; a task that changes files is better not answered from a cache.

It is another thing than what the node does by itself: a step that is taken again, after an error or by another
process, gets the result of its run with no cache at all.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from langgraph.cache.memory import InMemoryCache
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy

from langchain_sandbox import ModelEndpoint, Sandbox, SandboxNode, SandboxState
from langchain_sandbox.testing import ScriptedModel, Turn

QUESTION = "In which language does greet.py greet?"
ENGLISH, FRENCH = 'print("Hello")\n', 'print("Bonjour")\n'


def main() -> int:
    """Ask four times, of two trees; the exit code is 0 if there were two runs."""
    with ExitStack() as stack:
        repository = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="greet-")))
        git(repository, "init", "--quiet")
        sandbox = Sandbox(model=choose_model(stack), workspace=repository, changes="discard")
        app = build_graph(SandboxNode(sandbox=sandbox), repository)
        runs: list[str] = []
        for text in (ENGLISH, ENGLISH, FRENCH, ENGLISH):
            (repository / "greet.py").write_text(text, encoding="utf-8")
            result = app.invoke({"sandbox_task": QUESTION})["sandbox_results"][-1]
            known = result["run_id"] in runs
            print(f"[{'cache' if known else 'sandbox'}]{' ' * (2 if known else 0)} {result['text']}")
            runs += [] if known else [result["run_id"]]
    return 0 if len(runs) == len({ENGLISH, FRENCH}) else 1


def build_graph(node: SandboxNode, repository: Path) -> Any:  # noqa: ANN401 - LangGraph's type has four parameters
    """One node, whose answers are kept for an hour."""

    def build_key(state: dict[str, Any]) -> str:
        return f"{state['sandbox_task']!r} of {describe_tree(repository)}"

    graph = StateGraph(SandboxState)
    graph.add_node("sandbox", node, cache_policy=CachePolicy(key_func=build_key, ttl=3600))
    graph.add_edge(START, "sandbox")
    return graph.compile(cache=InMemoryCache())


def describe_tree(repository: Path) -> str:
    """A digest of the files that git does not ignore, as they are now."""
    digest = hashlib.sha256()
    names = git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in sorted(set(filter(None, names))):
        path = repository / name
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, and give what it says."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout  # noqa: S603, S607 - fixed words


def choose_model(stack: ExitStack) -> ModelEndpoint:
    """Your server, or a stand-in where there is none."""
    if os.environ.get("SANDBOX_MODEL_BASE_URL"):
        return ModelEndpoint.from_env()
    return stack.enter_context(ScriptedModel(play_coder)).endpoint


def play_coder(messages: list[dict[str, Any]]) -> Turn:
    """A coder that looks into the file."""
    if messages[-1]["role"] != "tool":
        return {"tool_calls": [{"name": "bash", "arguments": {"command": "cat greet.py", "description": "Look"}}]}
    return {"text": f"In {'French' if 'Bonjour' in str(messages[-1]['content']) else 'English'}."}


if __name__ == "__main__":
    sys.exit(main())
