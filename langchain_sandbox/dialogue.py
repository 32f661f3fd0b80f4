"""What host and container say to each other whatever it is for: hello, the workspace in, the changes out.

`Conversation` adds a task and its model, `Attendance` commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from langchain_sandbox.gateway.egress import EgressRelay
from langchain_sandbox.link import PROTOCOL_VERSION, Channel, Data, FileStream, LinkEvent, Message
from langchain_sandbox.workspace.applying.seed import describe_change
from langchain_sandbox.workspace.content import pieces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from langchain_sandbox.commands.prompt import Prompt
    from langchain_sandbox.config import Limits
    from langchain_sandbox.egress_config import Egress
    from langchain_sandbox.engine.connection import Connection
    from langchain_sandbox.gateway.call import ModelSource
    from langchain_sandbox.gateway.contents import Contents
    from langchain_sandbox.gateway.passage import EgressRecord
    from langchain_sandbox.judge import Judge
    from langchain_sandbox.live_container import LiveContainer
    from langchain_sandbox.report import Report
    from langchain_sandbox.workspace.applying.seed import Seed
    from langchain_sandbox.workspace.carriage import Carriage
    from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver

_CHUNK = 1024 * 1024

_READY_LIMIT = 30.0
_CANCEL_GRACE = 3.0  # for what was changed until then to come out
_ABORT_GRACE = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a container is to work on.

    Args:
        prompt: What the agent is told, and whether that is a command's text.
        judge: Looks at the typed answer, if one is wanted.
        timeout: Seconds from the container's start.
        limits: The run's limits.
        source: The model; `None` where nothing inside thinks.
        folder: Where in the repository it works: empty for its root, else such as `packages/a/`.
        mounted: Whether the workspace is there already.
        workspace: Waits until the workspace is read, and gives what goes in.
        stays: Whether another task may follow in the same container.
        instructions: Waits until it is known what AGENTS.md says, and gives that, empty for none; `None` where the
            task has to wait until all of the workspace is in place.
        changes: Takes what comes out.
        contents: Collects what is said to the model and by it; `None` where nobody wants it.
        egress: Where programs in the container may go; `None` for nowhere.
    """

    prompt: Prompt
    judge: Judge | None
    timeout: float
    limits: Limits
    source: ModelSource | None
    folder: str
    mounted: bool
    workspace: Callable[[], Awaitable[Carriage]]
    changes: ChangesReceiver
    contents: Contents | None = None
    egress: Egress | None = None
    stays: bool = False
    instructions: Callable[[], Awaitable[str | None]] | None = None


class Dialogue:
    """One run's talk with its container, as far as it is the same for all.

    Args:
        report: Filled in with what is seen.
        emit: Called with an event's type and its fields.
        on_working: Called when booting is over.
    """

    def __init__(self, *, report: Report, emit: Callable[..., None], on_working: Callable[[], None]) -> None:
        self._report = report
        self._emit = emit
        self._on_working = on_working
        self._attention = anyio.Event()  # something happened that may end the run
        self._ready = anyio.Event()
        self._working = anyio.Event()
        self._link: Connection
        self._container: LiveContainer
        self._assignment: Assignment
        self._egress: EgressRelay | None = None
        self._interrupted = False
        self.settled = anyio.Event()
        """Set when nothing more will come from the container."""

    def interrupt(self) -> None:
        """Have it end soon; the report says why."""
        self._interrupted = True
        self._attention.set()

    async def hold(self, assignment: Assignment, *, container: LiveContainer) -> None:
        """Talk until there is a result, or until there will be none; the report says which.

        Args:
            assignment: What the container is to work on.
            container: One that does not run yet, or a spare, which is booted.
        """
        self._assignment = assignment
        self._container = container
        self._link = container.link
        container.listen(self._on_event)
        async with anyio.create_task_group() as tasks:
            self._prepare(tasks)
            self._egress = self._report.egress = self._open_egress(tasks)
            try:
                tasks.start_soon(self._serve_link)
                self._link.send_message(self._build_hello())
                tasks.start_soon(self._send_workspace)
                tasks.start_soon(assignment.changes.serve)
                await self._begin()
                await self._start()
                tasks.start_soon(self._watch_boot)
                await self._await_workspace()
                with anyio.move_on_after(assignment.timeout) as clock:
                    await self._attention.wait()
                if clock.cancelled_caught:
                    self._report.timed_out = assignment.timeout
                await self._part()
            finally:
                tasks.cancel_scope.cancel()  # before what calls of the model need is closed: their failure would count
                with anyio.CancelScope(shield=True):
                    await self._close()

    @property
    def parked(self) -> bool:
        """Whether the container has done its task, and stands by for another one."""
        claim = self._report.claim
        if claim is None or self._interrupted or self._report.timed_out is not None or self._report.failure is not None:
            return False
        return self._assignment.stays and claim.get("stays") is True

    def acknowledge(self, data: Data) -> None:
        """Say that received bytes have been consumed."""
        self._link.acknowledge(data)

    # What the uses of a container differ in.

    def _prepare(self, tasks: TaskGroup) -> None:
        """The link is there, and nothing was said yet."""

    async def _begin(self) -> None:
        """Say what there is to say between hello and the container's start."""

    async def _watch_work(self) -> None:
        """Booting is over: see to it that the work goes on."""

    async def _close(self) -> None:
        """Let go of what `_prepare` made."""

    def _describe_model(self) -> dict[str, int] | None:
        """What the container must know of the model; `None` if there is none, and it is held for commands."""

    # The talk.

    def _build_hello(self) -> dict[str, Any]:
        assignment = self._assignment
        return {
            "type": "assign" if self._container.booted else "hello",
            "protocol": PROTOCOL_VERSION,
            "deadline": assignment.timeout,
            "model": self._describe_model(),
            "changes_limit": assignment.limits.size("changes"),
            "folder": assignment.folder,
            "mounted": assignment.mounted,
            "stay": assignment.stays,
            "egress": assignment.egress is not None,
        }

    def _open_egress(self, tasks: TaskGroup) -> EgressRelay | None:
        if self._assignment.egress is None:
            return None
        return EgressRelay(
            link=self._link,
            egress=self._assignment.egress,
            tasks=tasks,
            clock=self._report.clock,
            on_record=self._on_connection,
        )

    def _on_connection(self, record: EgressRecord) -> None:
        fields = record.describe()
        del fields["at"]  # an event's own time is when it was over
        self._emit("connection", **fields)

    async def _part(self) -> None:
        """Get what is still to be had."""
        if not self.settled.is_set():
            self._link.send_message({"type": "abort"})
            # Whoever cancels waits for it; at any other end there is time for what is still to come out.
            with anyio.move_on_after(_CANCEL_GRACE if self._report.cancelled else _ABORT_GRACE):
                await self.settled.wait()
        self._report.mark("worked")

    async def _start(self) -> None:
        """Let the program run; a spare's does already, and stands by."""
        if self._container.booted:
            self._on_ready()
            return
        await self._container.start()
        self._report.mark("started")

    async def _await_workspace(self) -> None:
        """The time counts from when there is something to work on, be it that the container was there before."""
        if not self._assignment.mounted:
            await self._assignment.workspace()

    async def _serve_link(self) -> None:
        await self._container.serve()
        self._report.link_broken = self._link.broken
        self.settled.set()
        self._attention.set()

    async def _watch_boot(self) -> None:
        """See to it that the program answers before long."""
        with anyio.move_on_after(_READY_LIMIT) as clock:
            await self._ready.wait()
        if clock.cancelled_caught:
            self._stall(f"The program in the container did not answer within {_READY_LIMIT:g} s.")
            return
        await self._working.wait()
        self._on_working()
        await self._watch_work()

    def _stall(self, message: str) -> None:
        self._report.stalled = message
        self._attention.set()

    async def _send_workspace(self) -> None:
        if self._assignment.mounted:
            self._link.send_message({"type": "workspace"})
            return
        carriage = await self._assignment.workspace()
        snapshot, history, seed = carriage.intake.snapshot, carriage.intake.history, carriage.seed
        self._link.send_message({"type": "workspace", "git": carriage.git, "seed": bool(seed.changes)})
        if carriage.git is not None and history is not None and history.pack:
            for ending, stream in (("pack", FileStream.PACK), ("idx", FileStream.PACK_INDEX)):
                path = history.folder / f"{history.pack}.{ending}"
                with await anyio.to_thread.run_sync(path.open, "rb") as file:
                    await self._send_file(file, stream)
        if not carriage.again:
            await self._send_file(snapshot.archive, FileStream.TAR)
        if seed.changes:
            await self._send_seed(seed)

    async def _send_seed(self, seed: Seed) -> None:
        for change in seed.changes:
            body = describe_change(change)
            self._link.send_message(body, channel=Channel.FILES, stream=FileStream.SEED)
            await anyio.lowlevel.checkpoint()  # there may be many without a content, and other runs live on this loop
            if body["kind"] == "file":
                waiting = pieces(change.content)
                while chunk := await anyio.to_thread.run_sync(next, waiting, b""):
                    await self._link.send_data(chunk, channel=Channel.FILES, stream=FileStream.SEED)
        self._link.send_end(channel=Channel.FILES, stream=FileStream.SEED)

    async def _send_file(self, file: IO[bytes], stream: int) -> None:
        file.seek(0)
        while chunk := await anyio.to_thread.run_sync(file.read, _CHUNK):
            await self._link.send_data(chunk, channel=Channel.FILES, stream=stream)
        self._link.send_end(channel=Channel.FILES, stream=stream)

    # What the container says. Called by the reader of the link; must not block.

    def _on_event(self, event: LinkEvent) -> None:
        match event:
            case Message(channel=Channel.CONTROL, body=body):
                self._on_control(body)
            case Message(channel=Channel.FILES, stream=FileStream.RESULT, body=body):
                self._on_result(body)
            case _ if event.channel is Channel.EGRESS and self._egress is not None:
                self._egress.on_event(event)
            case _ if event.channel is Channel.FILES:
                self._assignment.changes.on_event(event)
            case Data():
                self.acknowledge(event)
            case _:
                pass

    def _on_control(self, body: dict[str, Any]) -> None:
        match body.get("type"):
            case "ready":
                self._report.mark("ready")
                self._on_ready()
            case "working":
                self._report.mark("booted")
                self._working.set()
            case "failed":
                self._on_result({"error": {"name": body.get("code"), "message": body.get("message")}})
            case _:
                pass

    def _on_ready(self) -> None:
        if not self._ready.is_set():
            self._ready.set()
            source = self._assignment.source
            self._emit("started", container=self._container.name, model=source.model if source else "")

    def _on_result(self, body: dict[str, Any]) -> None:
        if self._report.claim is None:
            self._report.claim = body
            self.settled.set()
            self._attention.set()
