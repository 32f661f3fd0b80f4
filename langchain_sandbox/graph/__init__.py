"""A LangGraph node over a `Sandbox`."""

from __future__ import annotations

from langchain_sandbox.graph.node import SandboxNode
from langchain_sandbox.graph.state import SandboxState, SandboxTask

__all__ = ["SandboxNode", "SandboxState", "SandboxTask"]
