"""LangChain's own tests of what a tool must be, without an engine."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import BaseTool
from langchain_tests.unit_tests import ToolsUnitTests

from langchain_sandbox.commands.command import Argument, Command
from langchain_sandbox.sandbox import Sandbox
from langchain_sandbox.tools import CommandTool, SandboxTool

MODEL = "http://127.0.0.1:9/v1"


class TestSandboxTool(ToolsUnitTests):
    @property
    def tool_constructor(self) -> type[BaseTool]:
        return SandboxTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"sandbox": Sandbox(model=MODEL), "max_timeout": 600}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"task": "Fix it.", "files": ["src/app.py"], "timeout": 60}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"SANDBOX_MODEL_BASE_URL": MODEL}, {}, {"name": "run_in_sandbox"}


class TestCommandTool(ToolsUnitTests):
    @property
    def tool_constructor(self) -> type[BaseTool]:
        return CommandTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        arguments = (Argument(name="from"), Argument(name="count", type="integer", required=False, default=1))
        command = Command(name="team/move", template="$1 $2", source="move.md", digest="0" * 64, arguments=arguments)
        return {"command": command, "sandbox": Sandbox(model=MODEL)}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"from": "a", "count": 2}
