"""What can be raised.

A run that was tried is always *returned* as a `SandboxResult`, however it ended. Only what keeps a run from
being tried is raised::

    SandboxError (langchain_core.tools.ToolException)
    ├── SessionOverError                            a session can take no more tasks; another one can be begun
    ├── SandboxConfigError (ValueError)             what the caller gave cannot work; trying again will not help
    │   ├── CommandError                            a command's file cannot be used
    │   └── SandboxApplyError                       a result does not fit the tree that it should change
    └── SandboxUnavailableError (ConnectionError)   engine, image or room missing; trying again may help

The second bases are what LangGraph's default `RetryPolicy` looks at: it retries a `ConnectionError` and leaves
a `ValueError` alone, so both classes do the right thing with no configuration.
"""

from __future__ import annotations

try:
    from langchain_core.tools import ToolException
except ImportError:  # inside the container, where the pure parts of the package go too, there is no LangChain
    ToolException = Exception  # type: ignore[misc, assignment]


class SandboxError(ToolException):
    """Base of everything that this package raises on purpose."""


class SessionOverError(SandboxError):
    """A session is over and this task was not begun: the message says why. Another session can be."""


class SandboxConfigError(SandboxError, ValueError):
    """An argument, a setting or a task that cannot work as given; nothing was started."""


class CommandError(SandboxConfigError):
    """A command's file cannot be used; `str()` of it is `path:line: why, and what to do`.

    Args:
        reason: Why, and what to do.
        path: The file.
        line: Where in it, from 1; `None` if that is nowhere in particular.
    """

    def __init__(self, reason: str, path: str, line: int | None = None) -> None:
        super().__init__(reason, path, line)  # as they came, so that pickling and copying work
        self.reason = reason
        self.path = path
        self.line = line

    def __str__(self) -> str:
        """The file, the line and the reason."""
        return f"{self.path}:{self.line}: {self.reason}" if self.line else f"{self.path}: {self.reason}"


class SandboxApplyError(SandboxConfigError):
    """A result cannot be applied to this tree; the tree was left exactly as it was."""


class SandboxUnavailableError(SandboxError, ConnectionError):
    """The container engine, the sandbox image or room for a copy is not there; the message says how to get it."""
