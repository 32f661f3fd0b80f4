"""LangChain tools over a `Sandbox`."""

from __future__ import annotations

from langchain_sandbox.tools.command_tool import CommandTool
from langchain_sandbox.tools.sandbox_tool import SandboxTool
from langchain_sandbox.tools.toolkit import SandboxToolkit, aload_command_tools, load_command_tools

__all__ = ["CommandTool", "SandboxTool", "SandboxToolkit", "aload_command_tools", "load_command_tools"]
