"""The server on standard input and output, for a host that starts it. Nothing but the protocol is written there."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import anyio
from mcp.server.stdio import stdio_server

from langchain_sandbox.exits import CANCELLED
from langchain_sandbox.integrations.mcp.runs import LAST_WORDS
from langchain_sandbox.integrations.mcp.server import SandboxServer

if TYPE_CHECKING:
    from langchain_sandbox.integrations.mcp.settings import ServerSettings


def serve_stdio(settings: ServerSettings) -> None:
    """Serve one client until it closes standard input. Its runs end with it.

    Args:
        settings: What the operator decided.

    Raises:
        SandboxConfigError: If that cannot work.
    """
    anyio.run(_serve, settings)


async def _serve(settings: ServerSettings) -> None:
    server = SandboxServer(settings)
    await server.check()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_on_signal, server)
            tasks.start_soon(server.warm)
            async with stdio_server() as (incoming, outgoing):
                await server.protocol.run(incoming, outgoing, server.protocol.create_initialization_options())
            tasks.cancel_scope.cancel()
    except* BrokenPipeError:
        pass  # the host has gone in the middle of an answer
    finally:
        with anyio.CancelScope(shield=True):
            await server.aclose()


async def _end_on_signal(server: SandboxServer) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            await server.aclose()
            await anyio.sleep(LAST_WORDS)
            sys.stderr.flush()
            # A thread waits for the next line on standard input, and nothing but that line would wake it.
            os._exit(CANCELLED)
