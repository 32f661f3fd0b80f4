"""The server over streamable HTTP, for clients that do not start it. All of them need its token."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import anyio
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.handle import CANCEL_LIMIT
from langchain_sandbox.integrations.mcp.guard import Guard
from langchain_sandbox.integrations.mcp.server import SandboxServer

if TYPE_CHECKING:
    from types import FrameType

    from langchain_sandbox.integrations.mcp.runs import Runs
    from langchain_sandbox.integrations.mcp.settings import ServerSettings

PATH = "/mcp"

_SESSIONS = 100
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
    config = uvicorn.Config(
        Guard(app, token=token, host=host),
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=int(CANCEL_LIMIT) + 1,
    )
    with _listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        sys.stderr.write(f"Serving MCP at http://{shown}:{listening.getsockname()[1]}{PATH}\n")
        sys.stderr.flush()
        try:
            await _Uvicorn(config, server.runs).serve(sockets=[listening])
        finally:
            with anyio.CancelScope(shield=True):
                await server.runs.aclose()  # a client that had gone waits for nothing, and its run may be under way


class _Uvicorn(uvicorn.Server):
    """Ends the runs when a signal comes, so that the requests that wait for them are answered, and it can stop."""

    def __init__(self, config: uvicorn.Config, runs: Runs) -> None:
        super().__init__(config)
        self._runs = runs

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not uvicorn's own, which raises the signal again at its end: that would end us before we have cleaned up.
        del sig, frame
        self._runs.cancel()
        self.force_exit = self.should_exit
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        msg = f"Nothing can listen on {host}, port {port}: {error.strerror or error}. Choose another --port or --host."
        raise SandboxConfigError(msg) from error
