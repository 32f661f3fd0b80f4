"""The task that whole runs are compared by: a small repository, the script that works on it, and whether it did."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.testing.script import Turn

FILES = 50
TASK = "Give module 7 another answer."
CALLS = "four model calls (bash, edit, bash, answer)"

_EDITED = "package_2/module_07.py"
_BEFORE, _AFTER = "return 7", "return 42"
_MODULE = '"""Module {number}."""\n\n\ndef answer() -> int:\n    """Say what it is."""\n    return {number}\n'

_TURNS: list[Turn] = [
    {"tool_calls": [{"name": "bash", "arguments": {"command": "ls -R && git log -1", "description": "Look"}}]},
    {
        "tool_calls": [
            # OpenCode takes the path from the folder that it works in, so that one script fits every side.
            {"name": "edit", "arguments": {"filePath": _EDITED, "oldString": _BEFORE, "newString": _AFTER}}
        ]
    },
    {"tool_calls": [{"name": "bash", "arguments": {"command": "git diff --stat", "description": "Check"}}]},
    {"text": "Module 7 answers 42 now."},
]


def answer(messages: list[dict[str, Any]]) -> Turn:
    """The next turn, by what was done already: one script for every run of every side."""
    return _TURNS[sum(message["role"] == "tool" for message in messages)]


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
    return _AFTER in (repository / _EDITED).read_text(encoding="ascii")


def is_patch(patch: str | None) -> bool:
    """Whether a patch does the task."""
    return patch is not None and _EDITED in patch and f"+    {_AFTER}" in patch
