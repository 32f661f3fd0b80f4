"""One call of a tool, from its arguments to its answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from langchain_sandbox.errors import SandboxConfigError, SandboxError
from langchain_sandbox.integrations.mcp.answer import build_answer, build_complaint, build_refusal
from langchain_sandbox.integrations.mcp.catalogue import APPLY_RUN
from langchain_sandbox.integrations.mcp.peer import InputNeededError, Peer
from langchain_sandbox.integrations.mcp.review import Case, Reviews, apply_changes
from langchain_sandbox.integrations.mcp.roots import ARGUMENT, choose_folder
from langchain_sandbox.integrations.mcp.tool_list import describe_faults, takes_workspace
from langchain_sandbox.integrations.mcp.watching import watch_run
from langchain_sandbox.untrusted import show_controls
from langchain_sandbox.workspace_config import ApplyPolicy

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

    from langchain_sandbox.integrations.mcp.catalogue import Catalogue
    from langchain_sandbox.integrations.mcp.roots import Workspaces
    from langchain_sandbox.integrations.mcp.runs import Runs
    from langchain_sandbox.integrations.mcp.settings import ServerSettings
    from langchain_sandbox.tools.base import RunTool

_NO_MODEL = (
    "No model is configured for this MCP server. Start it with --model http://127.0.0.1:8000/v1, or set "
    "SANDBOX_MODEL_BASE_URL in the environment that the host gives it, and restart the server."
)


class Calls:
    """Answers calls.

    Args:
        settings: What the server was started with.
        catalogue: The tools.
        workspaces: The folders that tasks may work on.
        runs: Where runs are taken in.
    """

    def __init__(self, *, settings: ServerSettings, catalogue: Catalogue, workspaces: Workspaces, runs: Runs) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._workspaces = workspaces
        self._runs = runs
        self._reviews = Reviews(closing=runs.closing)

    async def answer(
        self, context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Answer one call. What a model or its user can mend is an answer, and no error of the protocol.

        Args:
            context: The request's.
            params: What it says.

        Raises:
            MCPError: If there is no such tool.
        """
        peer = Peer(context, params)
        try:
            if params.name == APPLY_RUN:
                return await self._apply_run(params.arguments or {}, peer)
            return await self._run(params, peer)
        except InputNeededError as needed:
            return needed.result
        except ValidationError as error:
            return build_complaint(describe_faults(error))
        except SandboxError as error:
            return build_refusal(error)

    async def _run(
        self, params: types.CallToolRequestParams, peer: Peer
    ) -> types.CallToolResult | types.InputRequiredResult:
        arguments = dict(params.arguments or {})
        call = json.dumps([params.name, arguments], sort_keys=True)
        if params.request_state is not None:
            case = self._reviews.find_waiting(params.request_state, call)
        else:
            tool, arguments = await self._find_tool(params.name, arguments, peer)
            request = tool.read_call(arguments)
            if self._settings.model is None:
                raise SandboxConfigError(_NO_MODEL)
            handle = await tool.sandbox.astart(**request)
            result = await watch_run(handle, self._runs, peer)
            case = Case(result=result, changes=handle.changes, sandbox=tool.sandbox, call=call)
        result, how = await self._reviews.decide(case, peer)
        self._runs.keep(result)
        return build_answer(result, how=how, links=peer.reads_links)

    async def _find_tool(self, name: str, arguments: dict[str, Any], peer: Peer) -> tuple[RunTool, dict[str, Any]]:
        """The tool that is meant, of the folder that is meant, and the arguments that are left for it."""
        folders = await self._workspaces.find(peer)
        known = [(await self._catalogue.look_up(folder)).get(name) for folder in folders]
        found = next((tool for tool in known if tool is not None), None)
        if found is None:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {show_controls(name[:200])}")
        if not takes_workspace(found, fixed=self._workspaces.fixed):
            return found, arguments
        wanted = arguments.pop(ARGUMENT, None)
        folder = choose_folder(folders, wanted)
        tool = (await self._catalogue.look_up(folder)).get(name)
        if tool is None:
            msg = f"The folder {folder.path} has no command for the tool {name}."
            raise SandboxConfigError(msg)
        return tool, arguments

    async def _apply_run(self, arguments: dict[str, Any], peer: Peer) -> types.CallToolResult:
        run_id = arguments.get("run_id")
        if not isinstance(run_id, str) or set(arguments) != {"run_id"}:
            return build_complaint(f"{APPLY_RUN} takes one argument: run_id, the 12 digits of a run of this server.")
        result = self._runs.find(run_id)
        self._reviews.check(result, forms=peer.has_forms)
        sandbox = self._settings.make_sandbox(self._settings.fallback)  # applies only, and so begins no pool
        result, how = await apply_changes(result, sandbox, policy=ApplyPolicy())
        self._runs.keep(result)
        answer = build_answer(result, how=how, links=peer.reads_links)
        return answer if result.applied else answer.model_copy(update={"is_error": True})
