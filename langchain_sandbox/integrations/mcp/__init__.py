"""The MCP server: a repository's tools for Claude Code, Codex and every other host of that protocol.

It needs the extra `mcp`; nothing here imports that package before it is asked to serve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.integrations.mcp.settings import ServerSettings

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["ServerSettings", "require_mcp"]


def require_mcp() -> ModuleType:
    """The official SDK of the protocol.

    Raises:
        SandboxConfigError: If it is not installed; the message says how to get it.
    """
    try:
        import mcp_types.version  # noqa: PLC0415 - an extra
        from mcp.server import lowlevel  # noqa: PLC0415 - as above
    except ImportError as error:
        msg = f"The MCP server needs a package more: pip install 'langchain-opencode-sandbox[mcp]' ({error})."
        raise SandboxConfigError(msg) from error
    del mcp_types
    return lowlevel
