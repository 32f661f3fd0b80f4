"""Hand a coding task to OpenCode in an ephemeral, hardened container, and get one typed result back."""

from __future__ import annotations

from langchain_sandbox._version import __version__
from langchain_sandbox.config import Limits, ModelEndpoint
from langchain_sandbox.errors import (
    SandboxApplyError,
    SandboxConfigError,
    SandboxError,
    SandboxUnavailableError,
)
from langchain_sandbox.events import SandboxEvent
from langchain_sandbox.handle import RunHandle
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.sandbox import Sandbox

__all__ = [
    "Limits",
    "ModelEndpoint",
    "RunHandle",
    "Sandbox",
    "SandboxApplyError",
    "SandboxConfigError",
    "SandboxError",
    "SandboxEvent",
    "SandboxResult",
    "SandboxUnavailableError",
    "__version__",
]
