"""deepagents over the hardened container: a backend for an agent of its own, and a subagent that is OpenCode.

The backend needs the extra `deepagents`; nothing here imports that package before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_sandbox.integrations.deepagents.subagent import create_sandbox_subagent

if TYPE_CHECKING:
    from langchain_sandbox.integrations.deepagents.backend import SandboxBackend

__all__ = ["SandboxBackend", "create_sandbox_subagent"]


def __getattr__(name: str) -> object:
    if name != "SandboxBackend":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        from langchain_sandbox.integrations.deepagents.backend import SandboxBackend  # noqa: PLC0415 - see above
    except ImportError as error:
        msg = f"SandboxBackend needs a package more: pip install 'langchain-opencode-sandbox[deepagents]' ({error})."
        raise ImportError(msg, name=error.name) from error
    return SandboxBackend
