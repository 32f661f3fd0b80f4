"""One task for many repositories: a LangChain pipeline around `Sandbox.abatch`.

Each repository has a container of its own. How many of them boot at once is bounded for the whole process, so the list
may be long. Results come in the order of the requests, failed ones too; each knows the repository that it belongs to.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel

from langchain_sandbox import ModelEndpoint, Sandbox, SandboxResult
from langchain_sandbox.testing import ScriptedModel, Turn

TASK = "A sum up to n has to include n. Look for code that leaves it out, mend it, and say what you found."

SAMPLES = {
    "billing": "def total(n):\n    return sum(range(n))\n",
    "shipping": "def weight(n):\n    return 2 * sum(range(n))\n",
    "website": "def visits(n):\n    return sum(range(n + 1))\n",
}


class Finding(BaseModel):
    """What the agent has to answer."""

    affected: bool
    explanation: str


async def main() -> int:
    """Send the task to all repositories; the exit code is 0 if every run completed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pipeline-")))
        sandbox = Sandbox(model=choose_model(stack))
        pipeline = RunnableLambda(build_requests) | RunnableLambda(sandbox.batch, afunc=sandbox.abatch)
        results: list[SandboxResult] = await pipeline.ainvoke(make_repositories(folder))
        for result in results:
            print(f"{Path(result.workspace.root or '').name:9} {result.status}: {result.structured}")
            if result.ok:
                print(f"{'':9} applied to {', '.join((await sandbox.aapply(result)).paths) or 'nothing'}")
    return 0 if all(result.ok for result in results) else 1


def build_requests(repositories: list[Path]) -> list[dict[str, Any]]:
    """The task for each repository, in the words of `Sandbox.run`."""
    return [{"task": TASK, "workspace": repository, "output": Finding} for repository in repositories]


def make_repositories(folder: Path) -> list[Path]:
    """Three small ones, two of them with the fault."""
    for name, code in SAMPLES.items():
        subprocess.run(["git", "init", "--quiet", folder / name], check=True)  # noqa: S603, S607 - fixed words
        (folder / name / "sums.py").write_text(code, encoding="utf-8")
    return [folder / name for name in SAMPLES]


def choose_model(stack: ExitStack) -> ModelEndpoint:
    """Your server, or a stand-in where there is none."""
    if os.environ.get("SANDBOX_MODEL_BASE_URL"):
        return ModelEndpoint.from_env()
    return stack.enter_context(ScriptedModel(play_coder)).endpoint


def play_coder(messages: list[dict[str, Any]]) -> Turn:
    """A coder that looks, mends what it finds, and answers."""
    if messages[-1]["role"] != "tool":
        command = "grep -n 'range(n)' sums.py && sed -i 's/range(n)/range(n + 1)/' sums.py"
        return {"tool_calls": [{"name": "bash", "arguments": {"command": command, "description": "Look and mend"}}]}
    affected = "range(n)" in str(messages[-1]["content"])
    words = "The range ended before n." if affected else "The range includes n already."
    return {"tool_calls": [{"name": "StructuredOutput", "arguments": {"affected": affected, "explanation": words}}]}


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
