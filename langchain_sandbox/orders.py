"""A command that is asked for in a container held for them: checked, and as the container is told of it. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.request import check_timeout

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_COMMAND = 1024 * 1024
"""Characters that a command may have in all; of each of its words Linux takes 128 KiB."""
MAX_INPUT = 256 * 1024 * 1024
"""Bytes that a command may be given as its standard input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A command that is asked for.

    Args:
        command: The program and its arguments.
        cwd: Where it starts, from the workspace's folder in the container.
        timeout: Seconds that it may take; `None` for as long as the container lives.
        limit: Bytes of output that are wanted.
        stdin: Its standard input; `None` for nothing.
        title: What the run's events and its result call it.
    """

    command: tuple[str, ...]
    cwd: str
    timeout: float | None
    limit: int
    stdin: bytes | None = None
    title: str = ""

    def describe(self) -> dict[str, Any]:
        """The message for the program in the container."""
        return {
            "type": "exec",
            "command": list(self.command),
            "cwd": self.cwd,
            "timeout": self.timeout,
            "limit": self.limit,
            "stdin": self.stdin is not None,
        }


def build_order(
    command: str | Sequence[str],
    *,
    stdin: bytes | None,
    cwd: str | None,
    timeout: float | None,
    output_limit: int,
    title: str | None = None,
) -> Order:
    """What is asked for, checked. Pure; the arguments are those of `Shell.execute`.

    Raises:
        SandboxConfigError: If it cannot work.
    """
    words = ("bash", "-c", command) if isinstance(command, str) else tuple(command)
    if not words or not all(isinstance(word, str) for word in words):
        msg = f"A command is text for bash, or a program and its arguments, not {command!r:.100}."
        raise SandboxConfigError(msg)
    size = sum(map(len, words))
    if size > MAX_COMMAND:
        msg = f"A command may have {MAX_COMMAND} characters, not {size}. Give long material as stdin."
        raise SandboxConfigError(msg)
    if any("\0" in word for word in (*words, cwd or "")):
        msg = "A command cannot hold a NUL character; take it out."
        raise SandboxConfigError(msg)
    if stdin is not None and len(stdin) > MAX_INPUT:
        msg = f"A command may be given {MAX_INPUT} bytes, not {len(stdin)}. Put long material into the workspace."
        raise SandboxConfigError(msg)
    if isinstance(output_limit, bool) or not isinstance(output_limit, int) or output_limit < 0:
        msg = f"output_limit is a number of bytes, not {output_limit!r}."
        raise SandboxConfigError(msg)
    return Order(
        command=words,
        cwd=cwd or "",
        timeout=None if timeout is None else check_timeout("timeout", timeout),
        limit=output_limit,
        stdin=stdin,
        title=title or (command if isinstance(command, str) else shlex.join(words)),
    )
