"""Hand a coding task to OpenCode in an ephemeral, hardened container, and get one typed result back.

Names are imported when they are first used: `import langchain_sandbox` costs nothing, and who only wants the test
model does not load LangGraph.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from langchain_sandbox._version import __version__

if TYPE_CHECKING:
    from langchain_sandbox.commands.command import Command
    from langchain_sandbox.config import Limits, ModelEndpoint
    from langchain_sandbox.draining import drain_on_sigterm
    from langchain_sandbox.egress_config import Egress
    from langchain_sandbox.errors import (
        CommandError,
        SandboxApplyError,
        SandboxConfigError,
        SandboxError,
        SandboxUnavailableError,
        SessionOverError,
    )
    from langchain_sandbox.events import SandboxEvent
    from langchain_sandbox.executions import CommandResult
    from langchain_sandbox.graph import (
        SandboxDecision,
        SandboxNode,
        SandboxReview,
        SandboxState,
        SandboxTask,
        add_results,
        create_sandbox_graph,
    )
    from langchain_sandbox.handle import RunHandle
    from langchain_sandbox.pool_config import Pool
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.revision import Revision
    from langchain_sandbox.run_store import DirectoryRunStore, RunStore
    from langchain_sandbox.sandbox import Sandbox
    from langchain_sandbox.session import Session
    from langchain_sandbox.shell import Shell
    from langchain_sandbox.tools import (
        CommandTool,
        SandboxTool,
        SandboxToolkit,
        aload_command_tools,
        load_command_tools,
    )
    from langchain_sandbox.tools.content import describe_result
    from langchain_sandbox.workspace.applying.told import ApplyReport
    from langchain_sandbox.workspace_config import ApplyPolicy, Retention, Workspace

__all__ = [
    "ApplyPolicy",
    "ApplyReport",
    "Command",
    "CommandError",
    "CommandResult",
    "CommandTool",
    "DirectoryRunStore",
    "Egress",
    "Limits",
    "ModelEndpoint",
    "Pool",
    "Retention",
    "Revision",
    "RunHandle",
    "RunStore",
    "Sandbox",
    "SandboxApplyError",
    "SandboxConfigError",
    "SandboxDecision",
    "SandboxError",
    "SandboxEvent",
    "SandboxNode",
    "SandboxResult",
    "SandboxReview",
    "SandboxState",
    "SandboxTask",
    "SandboxTool",
    "SandboxToolkit",
    "SandboxUnavailableError",
    "Session",
    "SessionOverError",
    "Shell",
    "Workspace",
    "__version__",
    "add_results",
    "aload_command_tools",
    "create_sandbox_graph",
    "describe_result",
    "drain_on_sigterm",
    "load_command_tools",
]

_HOMES = {
    "ApplyPolicy": "workspace_config",
    "ApplyReport": "workspace.applying.told",
    "Command": "commands.command",
    "CommandError": "errors",
    "CommandResult": "executions",
    "CommandTool": "tools",
    "DirectoryRunStore": "run_store",
    "Egress": "egress_config",
    "Limits": "config",
    "ModelEndpoint": "config",
    "Pool": "pool_config",
    "Retention": "workspace_config",
    "Revision": "revision",
    "RunHandle": "handle",
    "RunStore": "run_store",
    "Sandbox": "sandbox",
    "SandboxApplyError": "errors",
    "SandboxConfigError": "errors",
    "SandboxDecision": "graph",
    "SandboxError": "errors",
    "SandboxEvent": "events",
    "SandboxNode": "graph",
    "SandboxResult": "result",
    "SandboxReview": "graph",
    "SandboxState": "graph",
    "SandboxTask": "graph",
    "SandboxTool": "tools",
    "SandboxToolkit": "tools",
    "SandboxUnavailableError": "errors",
    "Session": "session",
    "SessionOverError": "errors",
    "Shell": "shell",
    "Workspace": "workspace_config",
    "add_results": "graph",
    "aload_command_tools": "tools",
    "create_sandbox_graph": "graph",
    "describe_result": "tools.content",
    "drain_on_sigterm": "draining",
    "load_command_tools": "tools",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
