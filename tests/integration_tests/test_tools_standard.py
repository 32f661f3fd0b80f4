"""LangChain's own tests of what a tool must be, each on the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from support import say

from langchain_sandbox import Sandbox, SandboxTool, load_command_tools
from langchain_sandbox.testing import ScriptedModel


class OnTheEngine(ToolsIntegrationTests):
    """Has a sandbox with a model for each test."""

    sandbox: Sandbox

    @pytest.fixture(autouse=True)
    def _with_a_model(self, repository: Path, request: pytest.FixtureRequest) -> Iterator[None]:
        with ScriptedModel(lambda _messages: say("Done.")) as model:
            self.sandbox = Sandbox(model=model.endpoint, workspace=repository)
            yield
            assert len(model.requests) == ("invoke" in request.node.name)  # not all of them call the tool


class TestSandboxTool(OnTheEngine):
    @property
    def tool_constructor(self) -> type[BaseTool]:
        return SandboxTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"sandbox": self.sandbox}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"task": "Nothing.", "files": ["calc.py"], "timeout": 120}


class TestCommandTool(OnTheEngine):
    @property
    def tool_constructor(self) -> BaseTool:
        assert self.sandbox.workspace is not None
        (tool,) = load_command_tools(self.sandbox.workspace.path, sandbox=self.sandbox, include=["git-commit"])
        return tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"hint": "a fix"}
