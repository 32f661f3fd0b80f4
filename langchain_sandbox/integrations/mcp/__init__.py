"""The MCP server: a repository's tools for Claude Code, Codex and every other host of that protocol.

It needs the extra `mcp`; nothing here imports that package before it is asked to serve.
"""

from __future__ import annotations

from importlib import import_module

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.integrations.mcp.settings import ServerSettings

__all__ = ["ServerSettings", "require_mcp"]


def require_mcp() -> None:
    """See that the official SDK of the protocol is there.

    Raises:
        SandboxConfigError: If it is not installed; the message says how to get it.
    """
    try:
        for name in ("mcp_types.version", "mcp.server.lowlevel", "uvicorn"):
            import_module(name)
    except ImportError as error:
        msg = f"The MCP server needs a package more: pip install 'langchain-opencode-sandbox[mcp]' ({error})."
        raise SandboxConfigError(msg) from error
