"""The task that whole runs are compared by: a small repository, the script that works on it, and whether it did."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.testing.script import Turn

FILES = 50
MODULE = 7
TASK = f"Give module {MODULE} another answer."
CALLS = "four model calls (bash, edit, bash, answer)"

_MODULE = '"""Module {number}."""\n\n\ndef answer() -> int:\n    """Say what it is."""\n    return {number}\n'

_WANTED = re.compile(r"Give module (\d+) another answer")


def build_task(module: int) -> str:
    """The same task about another module: what a session is asked for next."""
    return TASK.replace(str(MODULE), str(module))


def answer(messages: list[dict[str, Any]]) -> Turn:
    """The next turn, by what was asked last and done since: one script for every run of every side."""
    asked = max(index for index, message in enumerate(messages) if message["role"] == "user")
    found = _WANTED.search(str(messages[asked]["content"]))
    turns = _build_turns(int(found[1]) if found else MODULE)
    return turns[sum(message["role"] == "tool" for message in messages[asked:])]


def _build_turns(module: int) -> list[Turn]:
    path, before, after = _describe(module)
    return [
        {"tool_calls": [{"name": "bash", "arguments": {"command": "ls -R && git log -1", "description": "Look"}}]},
        {
            "tool_calls": [
                # OpenCode takes the path from the folder that it works in, so that one script fits every side.
                {"name": "edit", "arguments": {"filePath": path, "oldString": before, "newString": after}}
            ]
        },
        {"tool_calls": [{"name": "bash", "arguments": {"command": "git diff --stat", "description": "Check"}}]},
        {"text": f"Module {module} answers something else now."},
    ]


def _describe(module: int) -> tuple[str, str, str]:
    """Where a module is, what it says, and what it should say."""
    return f"package_{module % 5}/module_{module:02}.py", f"return {module}", f"return {module + 35}"


def make_repository(root: Path) -> None:
    """Make the repository, with one commit."""
    for number in range(FILES):
        path = root / f"package_{number % 5}" / f"module_{number:02}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_MODULE.format(number=number), encoding="ascii")
    identity = ["-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.invalid"]
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for arguments in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "--message=First"]):
        subprocess.run(["git", *arguments], cwd=root, env=environment, check=True)


def is_done(repository: Path) -> bool:
    """Whether the task was done in a copy of the repository."""
    path, _, after = _describe(MODULE)
    return after in (repository / path).read_text(encoding="ascii")


def is_patch(patch: str | None, module: int = MODULE) -> bool:
    """Whether a patch does the task, for a module, and nothing to any other."""
    path, _, after = _describe(module)
    return patch is not None and patch.count("diff --git") == 1 and path in patch and f"+    {after}" in patch
