"""Which tools there are: those of the folder that the tasks work on, read when a client lists them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from langchain_sandbox.tools.base import RunTool
from langchain_sandbox.tools.toolkit import SandboxToolkit

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.integrations.mcp.settings import ServerSettings
    from langchain_sandbox.sandbox import Sandbox
    from langchain_sandbox.workspace_config import Workspace

APPLY_RUN = "apply_run"
"""The tool that puts a run's changes into the workspace; no command may have its name."""

_logger = logging.getLogger(__name__)


class Catalogue:
    """The tools of each folder that was asked for.

    What a client was told of a command is what its call runs: a command's file is read again when somebody lists the
    tools, and not when one is called.

    Args:
        settings: What the server was started with.
        lender: Whose pool of containers all of them use.
    """

    def __init__(self, settings: ServerSettings, *, lender: Sandbox) -> None:
        self._settings = settings
        self._lender = lender
        self._known: dict[Path, dict[str, RunTool]] = {}

    async def read(self, workspace: Workspace) -> dict[str, RunTool]:
        """A folder's tools by name, as its files are now.

        Raises:
            SandboxConfigError: If the folder is not there, or a pattern of the operator's fits nothing in it.
        """
        tools = await asyncio.to_thread(self._read, workspace)
        self._known[workspace.path] = tools
        return tools

    async def look_up(self, workspace: Workspace) -> dict[str, RunTool]:
        """A folder's tools by name, as they were read last.

        Raises:
            SandboxConfigError: As for `read`.
        """
        known = self._known.get(workspace.path)
        return await self.read(workspace) if known is None else known

    def _read(self, workspace: Workspace) -> dict[str, RunTool]:
        toolkit = SandboxToolkit.from_repo(
            workspace.path,
            sandbox=self._settings.make_sandbox(workspace, pool=self._lender),
            include=self._settings.include,
            exclude=self._settings.exclude,
        )
        tools = {tool.name: tool for tool in toolkit.get_tools() if isinstance(tool, RunTool)}
        if tools.pop(APPLY_RUN, None) is not None:
            _logger.warning("A command is left out: its tool would be called %s, which is one of ours.", APPLY_RUN)
        return tools
