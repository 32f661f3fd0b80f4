"""The gateway service: model calls of containers without network, each over a connection to a unix socket.

Each connection is one run's lifeline, and speaks the link. The service ends by itself with the last of them, so that
`compose run` leaves nothing running. It runs on Debian's httpx and anyio, which are in the image.

Compose starts the service for a run only if it does not run yet, and looks a moment before the run's container is
there to connect. A service that ends in that moment is missed. So after a run that was alone it ends at once, and that
run's container waits for it: whoever runs one task after the other finds it ended. The container sees it by a lock,
which the kernel takes from a process that is gone. Where runs have overlapped, the next may be on its way already, and
the service waits for that one.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.compose.settings import find_endpoint
from langchain_sandbox.config import Limits, may_be_remote
from langchain_sandbox.engine.connection import Connection
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.gateway.relay import Gateway, GatewayFailure
from langchain_sandbox.gateway.upstream import UpstreamError, find_upstream
from langchain_sandbox.link import PROTOCOL_VERSION, Channel, Data, LinkEvent, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import SocketStream, TaskGroup

    from langchain_sandbox.gateway.record import CallRecord

SOCKET = "/run/llm/link.sock"
LOCK = "/run/llm/gateway.lock"  # held for as long as this process lives
PROJECT = Path("/host/project")

_FIRST_GRACE = 60.0  # for the first container to come
_SHARED_GRACE = 10.0  # for another one, where there have been several at a time
_CHUNK = 256 * 1024

logger = logging.getLogger(__name__)


class SocketBytes:
    """A socket as the byte stream that a connection is made over."""

    stderr_tail = ""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream

    async def receive(self) -> bytes:
        """The next bytes; empty at the end."""
        try:
            return await self._stream.receive(_CHUNK)
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            return b""

    async def send(self, data: bytes) -> None:
        """Write all of `data`.

        Raises:
            ConnectionError: If the other side is gone.
        """
        try:
            await self._stream.send(data)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            msg = "the container is gone"
            raise ConnectionError(msg) from error

    async def aclose(self) -> None:
        """End the stream."""
        await self._stream.aclose()


class Service:
    """Serves runs until there are none any more.

    Args:
        path: Where to listen.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._runs = 0
        self._shared = False
        self._changed = anyio.Event()

    async def serve(self) -> None:
        """Listen; returns when the last run is over."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108 - of a service that was killed
        # Everyone may connect: what keeps others out is that the volume is mounted nowhere else.
        listener = await anyio.create_unix_listener(self._path, mode=0o666)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._hold)
            logger.info("waiting for a sandbox")
            await self._wait_until_idle()
            tasks.cancel_scope.cancel()
        logger.info("the last sandbox is gone")

    async def _wait_until_idle(self) -> None:
        grace = _FIRST_GRACE
        while True:
            self._changed = anyio.Event()
            with anyio.move_on_after(grace if not self._runs else None) as clock:
                await self._changed.wait()
            if clock.cancel_called and not self._runs:
                return
            if not self._runs and not self._shared:
                return
            grace = _SHARED_GRACE

    async def _hold(self, stream: SocketStream) -> None:
        self._runs += 1
        self._shared = self._shared or self._runs > 1
        self._changed.set()
        try:
            async with stream:
                await Exchange(SocketBytes(stream), is_last=self._is_last).hold()
        finally:
            self._runs -= 1
            self._changed.set()

    def _is_last(self) -> bool:
        return self._runs == 1 and not self._shared


class Exchange:
    """One run's model calls.

    Args:
        stream: The connection from its container.
        is_last: Says whether the service ends with this run.
    """

    def __init__(self, stream: SocketBytes, *, is_last: Callable[[], bool]) -> None:
        self._is_last = is_last
        self._link = Connection(stream, on_event=self._on_event)
        self._gateway: Gateway | None = None
        self._opened = anyio.Event()
        self._wanted: str | None = None
        self._bye = anyio.Event()

    async def hold(self) -> None:
        """Relay until the container is gone or has said bye; whatever is under way then ends with it."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._open, tasks)
            tasks.start_soon(self._part, tasks)
            await self._link.run()
            tasks.cancel_scope.cancel()
        if self._gateway is not None:
            await self._gateway.aclose()

    async def _open(self, tasks: TaskGroup) -> None:
        """Find the model server, and say hello, or why not."""
        await self._opened.wait()
        try:
            limits = Limits.from_env()
            upstream = await find_upstream(
                find_endpoint(os.environ, PROJECT), allow_remote=may_be_remote(os.environ), wanted=self._wanted
            )
        except UpstreamError as error:
            self._link.send_message({"type": "failure", "code": error.code, "message": str(error)})
            return
        except SandboxConfigError as error:
            self._link.send_message({"type": "misconfigured", "message": str(error)})
            return
        self._gateway = Gateway(
            link=self._link,
            source=upstream,
            limits=limits,
            tasks=tasks,
            on_call=self._on_call,
            on_failure=self._on_failure,
        )
        model = {
            "name": upstream.model,
            "context": upstream.context,
            "output": upstream.output,
            "note": upstream.note,
        }
        self._link.send_message({"type": "hello", "protocol": PROTOCOL_VERSION, "model": model})

    async def _part(self, tasks: TaskGroup) -> None:
        await self._bye.wait()
        self._link.send_message({**self._describe(), "last": self._is_last()})
        await self._link.drain()
        tasks.cancel_scope.cancel()

    def _on_event(self, event: LinkEvent) -> None:
        if isinstance(event, Message) and event.channel is Channel.CONTROL:
            match event.body:
                case {"type": "open", "model": str() | None as wanted}:
                    self._wanted = wanted
                    self._opened.set()
                case {"type": "bye"}:
                    self._bye.set()
                case _:
                    pass
        elif event.channel is Channel.MODEL and self._gateway is not None:
            self._gateway.on_event(event)
        elif isinstance(event, Data):
            self._link.acknowledge(event)

    def _describe(self) -> dict[str, Any]:
        """What was relayed, for the result."""
        gateway = self._gateway
        if gateway is None:
            return {"type": "record", "calls": [], "refused": [], "used": {}}
        budget = gateway.budget
        return {
            "type": "record",
            "calls": [asdict(call) for call in gateway.records],
            "refused": gateway.refused,
            "used": {
                "calls": budget.calls,
                "prompt_tokens": budget.prompt_tokens,
                "completion_tokens": budget.completion_tokens,
            },
        }

    def _on_call(self, call: CallRecord) -> None:
        logger.info("model call %d: %s, %s", call.index, call.status, call.error or call.finish_reason)
        self._link.send_message({"type": "call", **asdict(call)})

    def _on_failure(self, failure: GatewayFailure) -> None:
        self._link.send_message({"type": "failure", "code": failure.code, "message": failure.message})


def main() -> None:
    """Run the service."""
    logging.basicConfig(level=logging.INFO, format="gateway: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # PID 1 has no default for it, and there is nothing to put away.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    _hold_lock()
    anyio.run(_serve)
    os._exit(0)  # at once: a container waits for it, and there is nothing to put away


def _hold_lock() -> None:
    """Have the kernel tell the containers when this process is gone; without it they do not wait, and that is all."""
    with suppress(OSError):
        with suppress(FileNotFoundError):
            os.unlink(LOCK)  # noqa: PTH108 - an earlier service's, which may have been another user's
        descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def _serve() -> None:
    await Service(SOCKET).serve()  # made in the loop: Debian's anyio wants it so
