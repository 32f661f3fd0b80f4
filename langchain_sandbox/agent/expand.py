"""What a command's text asks for from inside: the output of `` !`commands` ``, and `@files` as attachments.

Only commands are expanded, never a task's own words: a task may quote anything.
"""

from __future__ import annotations

import os
import re
from typing import Any

from langchain_sandbox.agent import children
from langchain_sandbox.agent.opencode import tool_environment

_SHELL = re.compile(r"!`([^`]+)`")
_FILE = re.compile(r"(?<![\w`])@(\.?[^\s`,.]*(?:\.[^\s`,.]+)*)")
_SHELL_LIMIT = 60.0
_MAX_OUTPUT = 64 * 1024
_MAX_FILES = 50


def expand(text: str, *, folder: str) -> list[dict[str, Any]]:
    """The parts of the message that a command becomes: its text, then the files that it names.

    Args:
        text: The command's.
        folder: Where shell commands run, and file names count from.
    """
    expanded = _SHELL.sub(lambda match: _run(match[1], folder), text).strip()
    names = dict.fromkeys(match for match in _FILE.findall(expanded) if match)
    files = [part for name in names if (part := _attach(name, folder)) is not None]
    return [{"type": "text", "text": expanded}, *files[:_MAX_FILES]]


def _run(command: str, folder: str) -> str:
    """What a command prints; how it ends is no matter, as in OpenCode."""
    try:
        output = children.run(
            ["/bin/bash", "-c", f"{command}\nexit 0"],
            cwd=folder,
            env=tool_environment(),
            timeout=_SHELL_LIMIT,
        )
    except OSError as error:
        return f"({error})"
    return output[:_MAX_OUTPUT].decode("utf-8", "replace")


def _attach(name: str, folder: str) -> dict[str, Any] | None:
    path = os.path.join(folder, name)
    if os.path.isdir(path):
        kind = "application/x-directory"
    elif os.path.isfile(path):
        kind = "text/plain"
    else:
        return None
    return {"type": "file", "url": f"file://{path}", "filename": name, "mime": kind}
