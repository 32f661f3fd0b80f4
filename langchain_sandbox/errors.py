"""What can be raised.

A run that was tried is always *returned* as a `SandboxResult`, however it ended. Only what keeps a run from
being tried is raised::

    SandboxError (langchain_core.tools.ToolException)
    ├── SandboxConfigError (ValueError)             what the caller gave cannot work; trying again will not help
    │   └── SandboxApplyError                       a result does not fit the tree that it should change
    └── SandboxUnavailableError (ConnectionError)   engine or image missing; trying again may help

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


class SandboxConfigError(SandboxError, ValueError):
    """An argument, a setting or a task that cannot work as given; nothing was started."""


class SandboxApplyError(SandboxConfigError):
    """A result cannot be applied to this tree; the tree was left exactly as it was."""


class SandboxUnavailableError(SandboxError, ConnectionError):
    """The container engine or the sandbox image is not there; the message says how to get it."""
