"""LangChain tools over a `Sandbox`."""

from __future__ import annotations

from langchain_sandbox.tools.sandbox_tool import SandboxTool

__all__ = ["SandboxTool"]
