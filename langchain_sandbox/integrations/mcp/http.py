"""The server over streamable HTTP, for clients that do not start it. All of them need its token."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING

import anyio
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.handle import CANCEL_LIMIT
from langchain_sandbox.integrations.mcp.guard import Guard
from langchain_sandbox.integrations.mcp.open_requests import OpenRequests
from langchain_sandbox.integrations.mcp.server import SandboxServer

if TYPE_CHECKING:
    from types import FrameType

    from langchain_sandbox.integrations.mcp.runs import Runs
    from langchain_sandbox.integrations.mcp.settings import ServerSettings

PATH = "/mcp"

_SESSIONS = 100
_LAST_WORDS = 5.0
"""Seconds that the answers for runs which were cancelled may take on their way out, before the streams are cut."""
_MAX_BODY = 8 * 1024 * 1024
"""Bytes; a task may have four million of them, written as JSON."""


def serve_http(settings: ServerSettings, *, host: str, port: int, token: str) -> None:
    """Serve clients until SIGTERM or Ctrl-C, which end all runs.

    Args:
        settings: What the operator decided.
        host: Where to listen.
        port: Where to listen; 0 for any that is free. Standard error says which.
        token: What a client has to know.

    Raises:
        SandboxConfigError: If that cannot work.
    """
    anyio.run(_serve, settings, host, port, token)


async def _serve(settings: ServerSettings, host: str, port: int, token: str) -> None:
    server = SandboxServer(settings)
    await server.check()
    app = server.protocol.streamable_http_app(
        streamable_http_path=PATH,
        # The guard has looked at the host and the origin, and knows other hosts than this machine, too.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        max_request_body_size=_MAX_BODY,
        max_sessions=_SESSIONS,
    )
    requests = OpenRequests(app)
    config = uvicorn.Config(
        Guard(requests, token=token, host=host),
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=int(CANCEL_LIMIT) + 1,
    )
    with _listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        sys.stderr.write(f"Serving MCP at http://{shown}:{listening.getsockname()[1]}{PATH}\n")
        sys.stderr.flush()
        warming = asyncio.create_task(server.warm())
        try:
            await _Uvicorn(config, runs=server.runs, requests=requests).serve(sockets=[listening])
        finally:
            warming.cancel()
            with anyio.CancelScope(shield=True):
                await server.aclose()  # a client that had gone waits for nothing, and its run may be under way


class _Uvicorn(uvicorn.Server):
    """At a signal it ends the runs first, and stops when the requests that wait for them have been answered.

    Not as uvicorn does: it would cut the answers' streams at once, and raise the signal again at its end, which would
    end the process before it has cleaned up. A second signal stops at once.
    """

    def __init__(self, config: uvicorn.Config, *, runs: Runs, requests: OpenRequests) -> None:
        super().__init__(config)
        self._runs = runs
        self._requests = requests
        self._loop = asyncio.get_running_loop()
        self._stopping: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        del sig, frame
        self._loop.call_soon_threadsafe(self._begin_to_stop)

    def _begin_to_stop(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        else:
            self.should_exit = self.force_exit = True

    async def _stop(self) -> None:
        await self._runs.aclose()
        await self._requests.wait(_LAST_WORDS)
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"Nothing can listen on {host}, port {port}: {reason}. Choose another --port or --host."
        raise SandboxConfigError(msg) from error
