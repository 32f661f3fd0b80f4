"""A container and the link to the program in it, from its making until it is gone, whoever it belongs to meanwhile.

It lives in tasks of its own on the portal's loop, so that it can pass from the pool, which boots it, to the run that
works in it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import anyio

from langchain_sandbox.engine.base import ByteStream, Container, ContainerEnd, ContainerSpec, Engine
from langchain_sandbox.engine.connection import Connection
from langchain_sandbox.errors import SandboxUnavailableError
from langchain_sandbox.link import Data

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.link import LinkEvent

_CLEANUP_LIMIT = 5.0
_END_LIMIT = 1.0

logger = logging.getLogger(__name__)


class LiveContainer:
    """Made by `make`; whoever has it sees to it that `take_away` is called.

    Args:
        container: The engine's.
        stream: Attached to it.
        name: What the engine calls it.
    """

    def __init__(self, container: Container, stream: ByteStream, *, name: str) -> None:
        self.name = name
        self.end = ContainerEnd()
        """How it ended, once `ended` is set."""
        self.ended = anyio.Event()
        self.booted = False
        """Whether OpenCode is up in it, and waits for a task."""
        self._container = container
        self._stream = stream
        self._hear: Callable[[LinkEvent], None] = self._let_go
        self.link = Connection(stream, on_event=self._on_event)
        self._serving = asyncio.create_task(self.link.run())
        self._watching = asyncio.create_task(self._watch())

    @classmethod
    async def make(cls, engine: Engine, spec: ContainerSpec) -> Self:
        """A container that does not run yet.

        Args:
            engine: Where.
            spec: What it is like.

        Raises:
            SandboxUnavailableError: If the engine refuses; nothing is left then.
        """
        container = await engine.create(spec)
        try:
            return cls(container, await container.attach(), name=spec.name)
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLEANUP_LIMIT):
                await _remove(container, spec.name)
                await container.aclose()
            raise

    @property
    def stderr(self) -> str:
        """The last words on its standard error."""
        return self._stream.stderr_tail

    @property
    def oom(self) -> bool:
        """Whether the kernel has killed something in it for memory until now."""
        return self._container.oom

    def listen(self, hear: Callable[[LinkEvent], None] | None) -> None:
        """Have what the container says from now on told to somebody else.

        Args:
            hear: Called for each event, in order; it must not block. `None` while nobody wants to hear it.
        """
        self._hear = hear or self._let_go

    async def start(self) -> None:
        """Let its program run.

        Raises:
            SandboxUnavailableError: If the engine refuses.
        """
        await self._container.start()

    async def serve(self) -> None:
        """Wait until the link is over; what broke it is raised, if it was a mistake of ours."""
        await asyncio.shield(self._serving)

    @property
    def over(self) -> bool:
        """Whether nothing will come from it any more."""
        return self._serving.done()

    async def take_away(self, *, parted: bool) -> bool:
        """Close the link, remove the container and learn how it ended, within five seconds.

        Args:
            parted: Whether it has said all that it had to say: it is told to end, then, and how it does says more than
                how it dies when it is killed.

        Returns:
            Whether the engine said that it is gone.
        """
        confirmed = False
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(_CLEANUP_LIMIT):
                if parted:
                    self.link.send_message({"type": "bye"})
                    with anyio.move_on_after(_END_LIMIT):
                        await self.ended.wait()
                with suppress(Exception):  # as a TLS stream's end may fail; what counts is that the container goes
                    await self._stream.aclose()
                confirmed = self.ended.is_set() and not self.end.lost
                confirmed = confirmed or await self._remove()
            with anyio.move_on_after(_END_LIMIT), suppress(Exception):
                await self._container.aclose()
            tasks = (self._serving, self._watching)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return confirmed

    async def _remove(self) -> bool:
        if not await _remove(self._container, self.name):
            return False
        with anyio.move_on_after(_END_LIMIT):
            await self.ended.wait()
        return True

    async def _watch(self) -> None:
        self.end = await self._container.wait()
        self.ended.set()

    def _let_go(self, event: LinkEvent) -> None:
        """Nobody listens; what came is not to take the room of what comes later."""
        if isinstance(event, Data):
            self.link.acknowledge(event)

    def _on_event(self, event: LinkEvent) -> None:
        self._hear(event)


async def _remove(container: Container, name: str) -> bool:
    try:
        await container.remove()
    except SandboxUnavailableError as error:
        logger.warning("the container %s was not removed: %s", name, error)
        return False
    return True
