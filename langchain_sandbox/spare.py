"""A spare: a container whose OpenCode is up and warm, asleep until it is given its one task."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.to_thread

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.base import ContainerSpec, Engine
from langchain_sandbox.engine.garbage import collect_garbage
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.errors import SandboxError, SandboxUnavailableError
from langchain_sandbox.gateway.relay import Gateway
from langchain_sandbox.gateway.warm_up import WarmUp
from langchain_sandbox.link import PROTOCOL_VERSION, Channel, Data, LinkEvent, Message
from langchain_sandbox.live_container import LiveContainer
from langchain_sandbox.single_error import single_error
from langchain_sandbox.untrusted import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.config import Limits
    from langchain_sandbox.preparation import Means
    from langchain_sandbox.request import RunRequest

_BOOT_LIMIT = 90.0
_WAKE_LIMIT = 4.5
_MAX_WORDS = 500
_MORE_ROUNDS = 3  # of warming up, after the first: the next one would make a task quicker by little
_SETTLING = 1.5  # seconds; OpenCode collects its garbage a second after the last thing that it did


@dataclass(frozen=True, slots=True, kw_only=True)
class SpareKind:
    """What must be settled when a container is made; one spare serves all tasks of its kind.

    Args:
        image: Its id.
        limits: What it may use.
        context: Tokens that the model takes in all.
        output: Tokens that it may answer with.
        folder: Where in the repository the agent works: empty for its root, else such as `packages/a/`.
        egress: Whether programs in it may go anywhere; where to, its task says.
        runtime: The OCI runtime that it runs under; `None` for the engine's default.
    """

    image: str
    limits: Limits
    context: int
    output: int
    folder: str = ""
    egress: bool = False
    runtime: str | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """What a spare is of use for."""

    engine: Engine
    kind: SpareKind


def build_want(request: RunRequest, means: Means, engine: Engine, *, folder: str) -> Want:
    """What a spare must be like to be of use for a task. Pure.

    Args:
        request: What the task was asked for.
        means: What there is for it; its model can be had.
        engine: Where the container is to be.
        folder: Where the workspace's files belong in their repository.
    """
    assert means.source is not None, "a spare needs a model"  # noqa: S101 - a mistake of ours, not of a caller
    source = means.source
    kind = SpareKind(
        image=means.image,
        limits=request.limits,
        context=source.context,
        output=source.output,
        folder=folder,
        egress=request.egress is not None,
        runtime=request.runtime,
    )
    return Want(engine, kind)


class Spare:
    """Made by `boot`. It belongs to whoever calls `wake`, or to nobody after `aclose`.

    Args:
        container: The container, not started yet.
        kind: What it is.
    """

    def __init__(self, container: LiveContainer, kind: SpareKind) -> None:
        self.container = container
        self.kind = kind
        self.memory: int | None = None
        """Bytes that it takes, as its kernel says; `None` if it does not say."""
        self._heard: dict[str, anyio.Event] = {}
        self._failure: str | None = None
        self._awake = False
        self._wakes = 0
        self._gateway: Gateway | None = None
        container.listen(self._on_event)

    @classmethod
    async def boot(cls, engine: Engine, kind: SpareKind, *, is_quiet: Callable[[], bool]) -> Self:
        """Make a container, have OpenCode boot and warm up in it, and put it to sleep.

        Args:
            engine: Where.
            kind: What it is to be.
            is_quiet: Whether no task is under way that would miss the time of the cores which warming up takes.

        Raises:
            SandboxUnavailableError: If the engine refuses, or OpenCode does not come up.
        """
        name = f"spare-{secrets.token_hex(6)}"
        spec = ContainerSpec(
            name=f"langchain-sandbox-{name}",
            image=kind.image,
            limits=kind.limits,
            runtime=kind.runtime,
            labels={labels.OWNER: await anyio.to_thread.run_sync(current_owner), labels.RUN: name},
        )
        spare = cls(await LiveContainer.make(engine, spec), kind)
        try:
            with anyio.fail_after(_BOOT_LIMIT), single_error():
                await spare._warm(engine, is_quiet)
        except BaseException as error:
            await spare.aclose()
            if isinstance(error, TimeoutError | _SpareError):
                msg = f"A spare container did not come up: {str(error) or f'it took more than {_BOOT_LIMIT:g} s'}"
                raise SandboxUnavailableError(msg) from error
            raise
        return spare

    async def lost(self) -> None:
        """Wait until it is of no use any more."""
        with suppress(_SpareError):
            await self._hear("lost")

    def rouse(self) -> None:
        """Begin to wake it."""
        if not self._awake:
            self._awake = True
            self._wakes += 1
            self._heard["awake"] = anyio.Event()
            self._say("wake", number=self._wakes)

    def calm(self) -> None:
        """Put it back to sleep."""
        if self._awake:
            self._awake = False
            self._say("park")

    async def wake(self) -> bool:
        """Wake it up, and say whether it is well; it can be given its task then."""
        self.rouse()
        try:
            with anyio.fail_after(_WAKE_LIMIT):
                await self._hear("awake")
        except (TimeoutError, _SpareError):
            return False
        return True

    async def aclose(self) -> None:
        """Take it away."""
        await self.container.take_away(parted=False)

    async def _warm(self, engine: Engine, is_quiet: Callable[[], bool]) -> None:
        kind = self.kind
        async with anyio.create_task_group() as tasks:
            self._gateway = Gateway(
                link=self.container.link,
                source=WarmUp(context=kind.context, output=kind.output),
                limits=replace(kind.limits, model_calls=None, tokens=None, repeats=None),
                tasks=tasks,
                on_call=lambda _: None,
                on_failure=lambda _: None,
            )
            self._say(
                "hello",
                protocol=PROTOCOL_VERSION,
                spare=True,
                model={"context": kind.context, "output": kind.output},
                folder=kind.folder,
                egress=kind.egress,
            )
            await self.container.start()
            tasks.start_soon(collect_garbage, engine)
            await self._hear("warm")
            await self._warm_better(is_quiet)
            self._gateway = None
            self._say("park")
            await self._hear("parked")
            tasks.cancel_scope.cancel()
        self.container.booted = True

    async def _warm_better(self, is_quiet: Callable[[], bool]) -> None:
        """Do what makes its task quicker and can be left out, as long as it is in nobody's way."""
        for _ in range(_MORE_ROUNDS):
            if not is_quiet():
                return
            self._heard["warm"] = anyio.Event()
            self._say("again")
            await self._hear("warm")
        if is_quiet():
            await anyio.sleep(_SETTLING)

    def _say(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - JSON
        self.container.link.send_message({"type": kind, **fields})

    async def _hear(self, word: str) -> None:
        """Wait until the program in the container says something.

        Raises:
            _SpareError: If it says that it failed, or says nothing more.
        """
        if self._failure is not None:
            raise _SpareError(self._failure)
        heard = asyncio.ensure_future(self._heard.setdefault(word, anyio.Event()).wait())
        over = asyncio.ensure_future(self.container.serve())
        try:
            await asyncio.wait({heard, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            heard.cancel()
            over.cancel()
        if self._failure is not None:
            raise _SpareError(self._failure)
        if not self._heard[word].is_set():
            msg = f"the container ended. {self.container.stderr[-_MAX_WORDS:]}".rstrip()
            raise _SpareError(msg)

    def _on_event(self, event: LinkEvent) -> None:
        match event:
            case Message(channel=Channel.CONTROL, body=body):
                self._on_control(body)
            case _ if event.channel is Channel.MODEL and self._gateway is not None:
                self._gateway.on_event(event)
            case Data():
                self.container.link.acknowledge(event)
            case _:
                pass

    def _on_control(self, body: dict[str, Any]) -> None:
        word = str(body.get("type"))
        if word == "failed":
            self._failure = clean_text(body.get("message"), _MAX_WORDS)
            for event in self._heard.values():
                event.set()
        elif word == "awake" and body.get("number") != self._wakes:
            pass  # late: it has been put back to sleep since, and is being woken anew
        elif word in {"warm", "parked", "awake"}:
            memory = body.get("memory")
            if isinstance(memory, int) and not isinstance(memory, bool) and memory > 0:
                self.memory = memory
            self._heard.setdefault(word, anyio.Event()).set()


class _SpareError(SandboxError):
    """It did not come up, or did not wake up."""
