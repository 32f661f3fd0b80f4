"""Which task was asked for: words, a file of words, or a command with its arguments, as the environment has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.config import MAX_TASK
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

TASK_FILE = Path("/run/home/task")  # where the entrypoint puts a copy of TASK_FILE
OPERATOR_COMMANDS = Path("/run/home/.config/opencode/commands")


def read_task(environ: Mapping[str, str], task_file: Path = TASK_FILE) -> str:
    """The words of the task, byte for byte.

    Raises:
        SandboxConfigError: If there are none, too many, or they are not text.
    """
    if task_file.is_file():
        if environ.get("TASK"):
            msg = "Both TASK and TASK_FILE are set; set one of them."
            raise SandboxConfigError(msg)
        content = task_file.read_bytes()
    else:
        content = environ.get("TASK", "").encode("utf-8", "surrogateescape")
    if len(content) > MAX_TASK:
        msg = f"The task has {len(content)} bytes; at most {MAX_TASK} are taken. Put long material into the workspace."
        raise SandboxConfigError(msg)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"The task is not UTF-8 at byte {error.start}."
        raise SandboxConfigError(msg) from error
    if not text.strip() or "\0" in text:
        msg = "The task is empty, or holds a NUL. Say in plain words what the agent should do."
        raise SandboxConfigError(msg)
    return text
