"""What a command's text asks for from inside: the output of `` !`commands` ``, and `@files` as attachments.

Only commands are expanded, never a task's own words: a task may quote anything. What is taken for what is OpenCode's
idea to the letter; its program is JavaScript, which has white space of its own and words in ASCII only.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote

from langchain_sandbox.agent import children
from langchain_sandbox.agent.opencode import HOME, tool_environment

_SPACES = "\t\n\v\f\r \xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000\ufeff"
_SHELL = re.compile(r"!`([^`]+)`")
_FILE = re.compile(rf"(?<![A-Za-z0-9_`])@(\.?[^{_SPACES}`,.]*(?:\.[^{_SPACES}`,.]+)*)")
_AGENTS = {"build", "plan", "general", "explore"}
_SHELL_LIMIT = 60.0
_MAX_OUTPUT = 64 * 1024
_MAX_FILES = 50


def expand(text: str, *, folder: str) -> list[dict[str, Any]]:
    """The parts of the message that a command becomes: its text, then the files and agents that it names.

    Args:
        text: The command's.
        folder: Where shell commands run, and file names count from.
    """
    expanded = _SHELL.sub(lambda match: _run(match[1], folder), text).strip(_SPACES)
    names = dict.fromkeys(match for match in _FILE.findall(expanded) if match)
    named = [part for name in names if (part := _attach(name, folder)) is not None]
    return [{"type": "text", "text": expanded}, *named[:_MAX_FILES]]


def _run(command: str, folder: str) -> str:
    """What a command prints; how it ends is no matter, as in OpenCode."""
    try:
        output = children.run(
            # Of one that fails, what it had printed counts all the same.
            ["/bin/bash", "-c", '/bin/bash -c "$1"; exit 0', "bash", command],
            cwd=folder,
            env=tool_environment(),
            timeout=_SHELL_LIMIT,
        )
    except OSError as error:
        return f"({error})"
    return output[:_MAX_OUTPUT].decode("utf-8", "replace")


def _attach(name: str, folder: str) -> dict[str, Any] | None:
    path = os.path.normpath(HOME + name[1:] if name.startswith("~/") else os.path.join(folder, name))
    if os.path.isdir(path):
        kind = "application/x-directory"
    elif os.path.isfile(path):
        kind = "text/plain"
    else:
        return {"type": "agent", "name": name} if name in _AGENTS else None
    return {"type": "file", "url": f"file://{quote(path)}", "filename": name, "mime": kind}
