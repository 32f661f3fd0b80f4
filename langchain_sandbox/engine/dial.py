"""An engine behind ssh, as a unix socket on this machine.

The docker command reaches such an engine through `docker system dial-stdio` on the other side. So does this: each
connection to the socket is one ssh process, so the SDK and the attachment both see an ordinary local engine.
When this process dies, ssh's input ends, and with it everything on the other side.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, ByteSendStream, SocketStream

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


async def serve_dial(url: str, path: str, *, ready: anyio.Event) -> None:
    """Listen on a unix socket and connect each caller to the engine, until cancelled.

    Args:
        url: The engine's address.
        path: Where to make the socket; its folder must be nobody else's.
        ready: Set once callers may connect.
    """
    command = build_command(url)

    async def connect(caller: SocketStream) -> None:
        async with caller, await anyio.open_process(command, stderr=subprocess.DEVNULL) as process:
            assert process.stdin is not None  # noqa: S101 - both are pipes by default
            assert process.stdout is not None  # noqa: S101 - as above
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_pump, caller, process.stdin)
                await _pump(process.stdout, caller)
                tasks.cancel_scope.cancel()
            process.kill()

    listener = await anyio.create_unix_listener(path, mode=0o600)
    async with listener:
        ready.set()
        await listener.serve(connect)


async def _pump(source: ByteReceiveStream, sink: ByteSendStream) -> None:
    try:
        while True:
            await sink.send(await source.receive(_CHUNK))
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await sink.aclose()
