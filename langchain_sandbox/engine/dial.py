"""An engine behind ssh, as a unix socket on this machine.

The docker command reaches such an engine through `docker system dial-stdio` on the other side. So does this: each
connection to the socket is one ssh process, so the SDK and the attachment both see an ordinary local engine.
When this process dies, ssh's input ends, and with it everything on the other side.
"""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from langchain_sandbox.engine.address import EngineAddress
from langchain_sandbox.engine.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import ByteReceiveStream, ByteSendStream, SocketListener, SocketStream

_CHUNK = 256 * 1024


def build_command(url: str) -> list[str]:
    """The ssh command for an engine's address.

    Args:
        url: Such as `ssh://user@host:22`.
    """
    parts = urlsplit(url)
    command = ["ssh", "-o", "ConnectTimeout=30", "-o", "BatchMode=yes", "-T"]
    if parts.username:
        command += ["-l", parts.username]
    if parts.port:
        command += ["-p", str(parts.port)]
    return [*command, "--", parts.hostname or "", "docker", "system", "dial-stdio"]


async def serve_dial(url: str, listener: SocketListener) -> None:
    """Connect each caller of a listening socket to the engine, until cancelled.

    Args:
        url: The engine's address.
        listener: A unix socket in a folder that is nobody else's.
    """
    command = build_command(url)

    async def connect(caller: SocketStream) -> None:
        process = await anyio.open_process(command, stderr=subprocess.DEVNULL)
        assert process.stdin is not None  # noqa: S101 - both are pipes by default
        assert process.stdout is not None  # noqa: S101 - as above
        async with caller, process, anyio.create_task_group() as tasks:
            tasks.start_soon(_pump, caller, process.stdin)
            await _pump(process.stdout, caller)
            tasks.cancel_scope.cancel()

    async with listener:
        await listener.serve(connect)


@asynccontextmanager
async def reach(address: EngineAddress) -> AsyncIterator[EngineAddress]:
    """An address that can be attached to, for as long as the block lasts; only one behind ssh needs anything done."""
    if not address.uses_ssh:
        yield address
        return
    with scratch_folder() as folder:
        path = str(folder / "engine.sock")
        listener = await anyio.create_unix_listener(path, mode=0o600)
        scope = anyio.CancelScope()

        async def serve() -> None:
            with scope:
                await serve_dial(address.url, listener)

        # No task group: it would wrap what is raised in the block.
        serving = asyncio.create_task(serve())
        try:
            yield EngineAddress(f"unix://{path}", origin=address.url)
        finally:
            scope.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def _pump(source: ByteReceiveStream, sink: ByteSendStream) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await sink.send(await source.receive(_CHUNK))
    with suppress(anyio.BrokenResourceError, OSError):
        await sink.aclose()
