"""A container of the package's own, with all its walls and its real link, that does what a test says."""

from __future__ import annotations

import math
import secrets
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal
from transfer import host_side

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.engine.base import ByteStream, ContainerSpec
from langchain_sandbox.engine.connection import Connection
from langchain_sandbox.engine.docker import PROGRAM, DockerContainer, DockerEngine
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.link import Channel, Data, FileStream, LinkEvent, Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from transfer.host_side import Outcome, Parcel

    from langchain_sandbox.config import Limits

Listing = dict[str, tuple[int, str]]

_ANSWER_LIMIT = 120.0
_END_LIMIT = 10.0
_SOURCES = [Path(__file__).with_name(f"{name}.py") for name in ("agent_side", "driver")]

# Makes modules of the sources that follow, beside the package that is in the image, and runs the last of them.
_LOADER = f"""
import sys, types
sys.path.insert(0, {PROGRAM[-1]!r})
for name, source in zip(sys.argv[1::2], sys.argv[2::2]):
    sys.modules[name] = module = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""


class TransferError(Exception):
    """The program in the container failed; the message has its last words."""


class TransferContainer:
    """A running container; made by `open_container`. One workspace at a time is in it.

    Args:
        name: The container's.
        portal: The loop that its link is on.
        talk: What is said over it.
    """

    def __init__(self, name: str, portal: BlockingPortal, talk: _Talk) -> None:
        self.name = name
        self._portal = portal
        self._talk = talk

    def bring_in(self, parcel: Parcel) -> None:
        """Send a workspace, and return when all of it is in place."""
        self._portal.call(self._talk.bring_in, parcel)

    def list_files(self) -> Listing:
        """Each file and link of the workspace: its mode, and a SHA-256 over its content or where it points to."""
        answer = self._portal.call(self._talk.ask, {"type": "list"})
        return {path: (mode, digest) for path, (mode, digest) in answer["files"].items()}

    def operate(self, operations: Sequence[dict[str, Any]]) -> None:
        """Change the workspace, as a `Desk` has noted it; raises `TransferError` if that cannot be done."""
        self._portal.call(self._talk.ask, {"type": "operate", "operations": list(operations)})

    def take_out(self, parcel: Parcel) -> Outcome:
        """Have the changes sent, and make a patch of them."""
        return self._portal.call(self._talk.take_out, parcel)

    def wipe(self) -> None:
        """Make room for the next workspace."""
        answer = self._portal.call(self._talk.ask, {"type": "wipe"})
        if answer["left"]:
            msg = f"still there after all was wiped: {answer['left']}"
            raise TransferError(msg)


@contextmanager
def open_container(image: str, limits: Limits) -> Iterator[TransferContainer]:
    """A container for the length of a block; nothing of it is left afterwards.

    Args:
        image: Id of the sandbox image.
        limits: The container's.
    """
    run_id = secrets.token_hex(6)
    sources = [text for path in _SOURCES for text in (path.stem, path.read_text(encoding="utf-8"))]
    spec = ContainerSpec(
        name=f"langchain-sandbox-{run_id}",
        image=image,
        limits=limits,
        labels={labels.OWNER: current_owner(), labels.RUN: run_id},
        program=(*PROGRAM[:-1], "-c", _LOADER, *sources),
    )
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_open_talk(spec)) as talk:
        # Not in a task group of the context manager's: that would put a test's own exception into an exception group.
        serving = portal.start_task_soon(talk.serve)
        try:
            yield TransferContainer(spec.name, portal, talk)
        finally:
            serving.cancel()


class _Talk:
    """Requests and answers over a container's link."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._connection = Connection(stream, on_event=self._on_event)
        self._receiver: Any = None
        self._answered, self._answers = anyio.create_memory_object_stream[dict[str, Any]](math.inf)

    async def serve(self) -> None:
        with self._answered:  # closed at the link's end, so that nobody waits for an answer any more
            await self._connection.run()

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._connection.send_message(request)
        return await self._answer()

    async def bring_in(self, parcel: Parcel) -> None:
        await self.ask({"type": "place", "folder": parcel.intake.folder})
        await host_side.send(self._connection, parcel)
        await self._answer()

    async def take_out(self, parcel: Parcel) -> Outcome:
        receiver = host_side.open_receiver(parcel, self._connection.acknowledge)
        try:
            self._receiver = receiver
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receiver.serve)
                summary = await self.ask({"type": "return", "limit": parcel.limits.size("changes")})
                tasks.cancel_scope.cancel()
            return await anyio.to_thread.run_sync(host_side.settle, parcel, receiver, summary)
        finally:
            self._receiver = None
            receiver.close()

    async def _answer(self) -> dict[str, Any]:
        try:
            with anyio.fail_after(_ANSWER_LIMIT):
                answer = await self._answers.receive()
        except (anyio.EndOfStream, TimeoutError) as error:
            msg = f"the container did not answer ({error!r}): {self._connection.broken} {self._stream.stderr_tail}"
            raise TransferError(msg) from error
        if "failed" in answer:
            raise TransferError(answer["failed"])
        return answer

    def _on_event(self, event: LinkEvent) -> None:
        if isinstance(event, Message) and event.channel is Channel.FILES and event.stream == FileStream.RESULT:
            self._answered.send_nowait(event.body)
        elif event.channel is Channel.FILES and self._receiver is not None:
            self._receiver.on_event(event)
        elif isinstance(event, Data):
            self._connection.acknowledge(event)


@asynccontextmanager
async def _open_talk(spec: ContainerSpec) -> AsyncIterator[_Talk]:
    container = await DockerEngine(find_engine()).create(spec)
    stream: ByteStream | None = None
    try:
        stream = await container.attach()
        await container.start()
        yield _Talk(stream)
    finally:
        with anyio.CancelScope(shield=True):
            if stream is not None:
                await stream.aclose()
            await _take_away(container)


async def _take_away(container: DockerContainer) -> None:
    """Remove it, and wait until the engine says that it is gone."""
    await container.remove()
    with anyio.move_on_after(_END_LIMIT):
        await container.wait()
    await container.aclose()
