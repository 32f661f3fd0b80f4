"""A person decides on what a run changed: `create_sandbox_graph(review=True)`.

The graph stops between the run and the workspace. Here a person looks at the patch and asks for something else, looks
again and accepts; what is refused unless it is allowed in so many words is asked about once more. The thread may wait
for days in between, and go on in another process: the sandbox has run once for each question.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langchain_sandbox import ModelEndpoint, Sandbox, SandboxDecision, SandboxReview, create_sandbox_graph
from langchain_sandbox.testing import ScriptedModel, Turn

THREAD: Any = {"configurable": {"thread_id": "1"}}


def main() -> int:
    """Have a file written and decide about it until it is applied; the exit code is 0 if it was."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="review-")))
        subprocess.run(["git", "init", "--quiet", folder], check=True)  # noqa: S603, S607 - fixed words
        sandbox = Sandbox(model=choose_model(stack), workspace=folder)
        graph = create_sandbox_graph(sandbox=sandbox, review=True, checkpointer=InMemorySaver())
        state = graph.invoke({"sandbox_task": "Run the tests before each commit."}, THREAD)
        while "__interrupt__" in state:
            (asked,) = state["__interrupt__"]
            state = graph.invoke(Command(resume=decide(asked.value)), THREAD)
        result = state["sandbox_results"][-1]
        print(f"[sandbox] applied: {result['applied']}, {(folder / '.husky/pre-commit').read_text().strip()}")
    return 0 if result["applied"] else 1


def decide(review: SandboxReview) -> SandboxDecision:
    """What this person thinks of a change: quick tests, and a second look at what is refused."""
    decision: SandboxDecision
    if review["again"]:
        decision = {"type": "accept", "risky": "allow"}
    elif "+pytest -x" in (review["patch"] or ""):
        decision = {"type": "accept"}
    else:
        decision = {"type": "changes", "comment": "Stop at the first failure."}
    for file in review["files"]:
        print(f"[review]  {file['kind']} {file['path']} (+{file['insertions']} -{file['deletions']}) {file['risks']}")
    if review["again"]:
        print(f"[review]  {review['again']}")
    print(f"[person]  {decision}")
    return decision


def choose_model(stack: ExitStack) -> ModelEndpoint:
    """Your server, or a stand-in where there is none."""
    if os.environ.get("SANDBOX_MODEL_BASE_URL"):
        return ModelEndpoint.from_env()
    return stack.enter_context(ScriptedModel(play_coder)).endpoint


def play_coder(messages: list[dict[str, Any]]) -> Turn:
    """A coder that does what it was told last."""
    if messages[-1]["role"] == "tool":
        return {"text": "It does."}
    quick = " -x" if "Stop at the first failure." in str(messages) else ""
    arguments = {"filePath": "/run/ws/repo/.husky/pre-commit", "content": f"pytest{quick}\n"}
    return {"tool_calls": [{"name": "write", "arguments": arguments}]}


if __name__ == "__main__":
    sys.exit(main())
