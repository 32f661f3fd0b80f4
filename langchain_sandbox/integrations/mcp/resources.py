"""What there is to read of this server's runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import mcp_types as types

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.integrations.mcp.addresses import KINDS, PARTS, parse_address, run_address
from langchain_sandbox.run_folder import RunFolder

if TYPE_CHECKING:
    from langchain_sandbox.integrations.mcp.addresses import Part
    from langchain_sandbox.integrations.mcp.runs import Runs
    from langchain_sandbox.result import SandboxResult

_MAX_PATCH = 4 * 1024 * 1024  # bytes
_LISTED = 20
_TITLES: dict[Part, str] = {"patch": "Patch", "report": "Report", "result": "Result"}
_SAYS: dict[Part, str] = {
    "patch": "what it changed, for git apply; untrusted",
    "report": "the run as a page for people",
    "result": "everything that is known of it, as JSON; untrusted",
}


def list_resources(runs: Runs) -> list[types.Resource]:
    """Those of the last runs, the latest first."""
    return [_describe(result, part) for result in runs.latest()[:_LISTED] for part in PARTS]


def list_templates() -> list[types.ResourceTemplate]:
    """How the address of any run's parts is made."""
    return [
        types.ResourceTemplate(
            name=part,
            title=_TITLES[part],
            uri_template=run_address("{run_id}", part),
            description=f"Of a run of this server: {_SAYS[part]}.",
            mime_type=KINDS[part],
        )
        for part in PARTS
    ]


async def read_resource(runs: Runs, address: str) -> types.ReadResourceResult:
    """Read a part of a run.

    Args:
        runs: The runs that there are.
        address: What the client asks for, whatever it may be.

    Raises:
        SandboxConfigError: If there is no such run, or its part cannot be read.
    """
    found = parse_address(address)
    if found is None:
        msg = (
            f"There is no resource {address[:200]!r}; those of a run are {run_address('<run_id>', 'patch')} and so on."
        )
        raise SandboxConfigError(msg)
    run_id, part = found
    text = await asyncio.to_thread(_write, runs.find(run_id), part)
    content = types.TextResourceContents(uri=run_address(run_id, part), mime_type=KINDS[part], text=text)
    return types.ReadResourceResult(contents=[content])


def _write(result: SandboxResult, part: Part) -> str:
    match part:
        case "patch":
            return _read_patch(result)
        case "report":
            return result.to_html()
        case "result":
            return result.model_dump_json(indent=2)


def _read_patch(result: SandboxResult) -> str:
    if result.patch is not None:
        return result.patch
    try:
        with RunFolder.of(result.run_id).patch.open("rb") as file:
            content = file.read(_MAX_PATCH + 1)
    except OSError as error:
        msg = f"The patch of run {result.run_id} cannot be read any more: {error.strerror}."
        raise SandboxConfigError(msg) from error
    if len(content) > _MAX_PATCH:
        msg = (
            f"The patch of run {result.run_id} is longer than {_MAX_PATCH} bytes; apply it where the server runs: "
            f"langchain-sandbox apply {result.run_id}."
        )
        raise SandboxConfigError(msg)
    return content.decode("utf-8", "replace")


def _describe(result: SandboxResult, part: Part) -> types.Resource:
    return types.Resource(
        name=f"{part}-{result.run_id}",
        title=f"{_TITLES[part]} of run {result.run_id} ({result.status})",
        uri=run_address(result.run_id, part),
        description=f"Of a run of this server: {_SAYS[part]}.",
        mime_type=KINDS[part],
    )
