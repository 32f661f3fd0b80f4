"""Which folder a call works on: the operator's, else one of the client's roots, else where the server was started."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import mcp_types as types

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.workspace_config import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_sandbox.integrations.mcp.peer import Peer
    from langchain_sandbox.integrations.mcp.settings import ServerSettings

ARGUMENT = "workspace"
"""What a model may say of the folder, where there are several."""
ARGUMENT_SCHEMA: Mapping[str, Any] = {
    "type": "string",
    "description": "Folder that the task works on, one of the roots that are open in the client. Needed only where "
    "there are several.",
}

_SAY = "Start the server with --workspace to have it work on one folder whatever is open."
_LIMIT = 10.0
"""Seconds that a client may take to say its roots, when it has asked for something itself."""


class NoFolderError(SandboxConfigError):
    """The client has roots, but none is known that is here. Another folder is no answer to that."""


class Workspaces:
    """Chooses the folder.

    Args:
        settings: What the server was started with.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings

    @property
    def fixed(self) -> bool:
        """Whether the operator has chosen."""
        return self._settings.workspace is not None

    async def find(self, peer: Peer) -> Sequence[Workspace]:
        """All folders that may be meant, one at least.

        Raises:
            InputNeededError: If the client has to come again with its roots.
            NoFolderError: If it does not say them in time, or says only such as are not on this machine.
        """
        if self._settings.workspace is not None:
            return [self._settings.workspace]
        roots = await _ask_for_roots(peer) if peer.has_roots else None
        if roots is None or not roots.roots:
            return [self._settings.fallback]
        found = await asyncio.to_thread(parse_roots, [str(root.uri) for root in roots.roots])
        if not found:
            msg = f"None of the folders that are open in the client is a folder on this machine. {_SAY}"
            raise NoFolderError(msg)
        return found


async def _ask_for_roots(peer: Peer) -> types.ListRootsResult | None:
    try:
        return await peer.ask("roots", types.ListRootsRequest(), types.ListRootsResult, limit=_LIMIT)
    except TimeoutError as error:
        msg = f"The client did not say which folders are open in it. {_SAY}"
        raise NoFolderError(msg) from error


def parse_roots(addresses: Sequence[str]) -> list[Workspace]:
    """The folders that roots name, each once; what is no folder on this machine is passed over."""
    found = [path for address in addresses if (path := _parse_root(address)) is not None and _is_folder(path)]
    return [Workspace.of(path) for path in dict.fromkeys(found)]


def _parse_root(address: str) -> Path | None:
    try:
        parts = urlsplit(address)
        path = unquote(parts.path)
        here = parts.scheme == "file" and parts.hostname in {None, "localhost"} and "\0" not in path
    except ValueError:
        return None
    return Path(path) if here and path.startswith("/") else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it may not be looked at, or its name is too long
        return False


def choose_folder(folders: Sequence[Workspace], wanted: object) -> Workspace:
    """The one that is wanted.

    Args:
        folders: Those that may be meant.
        wanted: The path of one of them, or its address; `None` for the only one.

    Raises:
        SandboxConfigError: If it is none of them, or there are several and nothing is wanted.
    """
    if wanted is None and len(folders) == 1:
        return folders[0]
    names = ", ".join(str(folder.path) for folder in folders)
    if wanted is None:
        msg = f"Several folders are open in the client; say which one is meant as {ARGUMENT}: {names}."
        raise SandboxConfigError(msg)
    for folder in folders:
        if wanted in (str(folder.path), folder.path.as_uri()):
            return folder
    msg = f"{ARGUMENT} has to be one of the folders that are open in the client: {names}."
    raise SandboxConfigError(msg)
