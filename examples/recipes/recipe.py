"""What the recipes share: a sample repository, a model, and a line for each event.

With SANDBOX_MODEL_BASE_URL set, OpenCode thinks with that server; without it the model is a scripted stand-in, and
everything else is real.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_sandbox import ModelEndpoint
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.testing import Turn


@contextmanager
def choose_model(script: list[Turn]) -> Iterator[ModelEndpoint]:
    """The user's model, or one that plays a script.

    Args:
        script: Its turns.
    """
    if os.environ.get("SANDBOX_MODEL_BASE_URL"):
        yield ModelEndpoint.from_env()
        return
    print("SANDBOX_MODEL_BASE_URL is not set, so the model is a scripted stand-in.")
    with ScriptedModel(script) as model:
        yield model.endpoint


@contextmanager
def make_repository() -> Iterator[Path]:
    """A small repository that is gone when the recipe is over."""
    with tempfile.TemporaryDirectory(prefix="recipe-") as name:
        folder = Path(name)
        (folder / "greet.py").write_text('print("Hello")\n', encoding="utf-8")
        git(folder, "init", "--quiet")
        commit(folder, "A greeting")
        yield folder


def commit(folder: Path, subject: str) -> None:
    """Commit all that there is."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", subject)


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, and give what it says."""
    author = ["-c", "user.name=Sample", "-c", "user.email=sample@example.com"]
    command = ["git", *author, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - fixed words


def run(command: str) -> Turn:
    """A turn of a script in which the model has a command run."""
    return {"tool_calls": [{"name": "bash", "arguments": {"command": command, "description": "Work"}}]}


def show(result: dict[str, Any]) -> None:
    """Print what came of a run: one of the state's `sandbox_results`."""
    print(f"{result['status']}: {result['text'] or result['ending']['message']}  [run {result['run_id']}]")
