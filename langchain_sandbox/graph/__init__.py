"""LangGraph nodes and graphs over a `Sandbox`."""

from __future__ import annotations

from langchain_sandbox.graph.decision import AcceptDecision, ChangesDecision, RejectDecision, SandboxDecision
from langchain_sandbox.graph.node import SandboxNode
from langchain_sandbox.graph.question import SandboxReview
from langchain_sandbox.graph.sandbox_graph import create_sandbox_graph
from langchain_sandbox.graph.state import SandboxState, SandboxTask, add_results

__all__ = [
    "AcceptDecision",
    "ChangesDecision",
    "RejectDecision",
    "SandboxDecision",
    "SandboxNode",
    "SandboxReview",
    "SandboxState",
    "SandboxTask",
    "add_results",
    "create_sandbox_graph",
]
