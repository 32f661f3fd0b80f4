"""Both sides of the protocol, for tests: our server in a process of its own, and the official SDK's client.

Run as a program, it is a host: it starts the server that its arguments name, calls the free task, and may be killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from mcp.types import CallToolResult

NEWEST = "2026-07-28"
HANDSHAKE = "legacy"
"""The newest revision that begins with a handshake, 2025-11-25, as the SDK calls it."""
ERAS = (NEWEST, HANDSHAKE)
TOKEN = "a-token-for-tests-only"
RUN = "run_in_sandbox"


def server_command(*options: str) -> list[str]:
    """How the server is started."""
    return [sys.executable, "-m", "langchain_sandbox", "mcp", *options]


def server_environ(**more: str) -> dict[str, str]:
    """What the server finds in its environment, which is little where a host starts it."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("SANDBOX_", "DOCKER_"))}
    return {"PYTHONPATH": str(Path(__file__).parents[2]), **kept, **more}


@asynccontextmanager
async def stdio(
    *options: str, folder: Path, mode: str = NEWEST, environ: dict[str, str] | None = None, **callbacks: Any
) -> AsyncIterator[Client]:
    """A client that has started the server itself."""
    command, *arguments = server_command(*options)
    parameters = StdioServerParameters(
        command=command, args=arguments, env=server_environ(**(environ or {})), cwd=str(folder)
    )
    errors = (folder.parent / "server.log").open("a")
    with errors:
        async with Client(stdio_client(parameters, errlog=errors), mode=mode, **callbacks) as client:
            yield client


@contextmanager
def http_server(*options: str, folder: Path, token: str | None = TOKEN) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The server's address and its process, which is over at the end."""
    environ = {**os.environ, **server_environ(), **({"SANDBOX_MCP_TOKEN": token} if token else {})}
    command = server_command("--http", "--port", "0", *options)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder, env=environ) as process:
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if found := re.search(r"http://\S+", line):
                    break
            else:
                raise AssertionError("".join(lines))
            yield found[0], process
        finally:
            process.terminate()
            process.communicate(timeout=20)


@asynccontextmanager
async def http(address: str, *, mode: str = NEWEST, token: str = TOKEN, **callbacks: Any) -> AsyncIterator[Client]:
    """A client of a server that runs already."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as connection,
        Client(streamable_http_client(address, http_client=connection), mode=mode, **callbacks) as client,
    ):
        yield client


def words(result: CallToolResult) -> str:
    """The texts of an answer."""
    return "\n".join(part.text for part in result.content if part.type == "text")


async def _host(options: list[str]) -> None:
    async with stdio(*options, folder=Path.cwd()) as client:
        print("connected", flush=True)
        result = await client.call_tool(RUN, {"task": "Work."})
        print(json.dumps(result.structured_content), flush=True)


if __name__ == "__main__":
    asyncio.run(_host(sys.argv[1:]))
