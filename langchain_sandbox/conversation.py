"""What host and container say to each other about one task: the model's calls, OpenCode's events, a typed answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from langchain_sandbox.dialogue import Assignment, Dialogue
from langchain_sandbox.gateway.relay import Gateway, GatewayFailure
from langchain_sandbox.judge import REPAIRS
from langchain_sandbox.link import Channel, LinkEvent, Message
from langchain_sandbox.stillness import Stillness
from langchain_sandbox.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from langchain_sandbox.gateway.call import ModelCall, ModelSource
    from langchain_sandbox.gateway.record import CallRecord
    from langchain_sandbox.live_container import LiveContainer
    from langchain_sandbox.report import Report

_STALL_LIMIT = 60.0


class Conversation(Dialogue):
    """One task's talk with its container.

    Args:
        report: Filled in with what is seen.
        emit: Called with an event's type and its fields.
        on_working: Called when booting is over and OpenCode has its task.
    """

    def __init__(self, *, report: Report, emit: Callable[..., None], on_working: Callable[[], None]) -> None:
        super().__init__(report=report, emit=emit, on_working=on_working)
        self._transcript = Transcript(emit, clock=report.clock)
        self._stillness = Stillness(clock=report.clock)
        self._answers = asyncio.Queue[Any](REPAIRS + 1)
        self._gateway: Gateway

    async def hold(self, assignment: Assignment, *, container: LiveContainer) -> None:
        """Talk until there is a result, or until there will be none; the report says which.

        Args:
            assignment: The task and its model.
            container: One that does not run yet, or a spare, which is booted.
        """
        await super().hold(assignment, container=container)
        self._report.steps = self._transcript.steps
        self._report.claimed_files = self._transcript.claimed_files

    @property
    def _source(self) -> ModelSource:
        source = self._assignment.source
        assert source is not None, "a task needs a model"  # noqa: S101 - a mistake of ours, not of a caller
        return source

    def _describe_model(self) -> dict[str, int]:
        return {"context": self._source.context, "output": self._source.output}

    def _prepare(self, tasks: TaskGroup) -> None:
        self._gateway = self._report.gateway = self._open_gateway(tasks)
        tasks.start_soon(self._judge_answers)

    async def _begin(self) -> None:
        instructions = self._assignment.instructions
        early = await instructions() if instructions is not None else None
        self._link.send_message(self._build_task() | {"instructions": early})

    async def _close(self) -> None:
        await self._gateway.aclose()

    def _open_gateway(self, tasks: TaskGroup) -> Gateway:
        return Gateway(
            link=self._link,
            source=self._source,
            limits=self._assignment.limits,
            tasks=tasks,
            on_call=self._on_call,
            on_failure=self._on_failure,
            on_start=self._on_model_start,
            contents=self._assignment.contents,
        )

    async def _watch_work(self) -> None:
        self._stillness.stir()
        while (still := self._stillness.seconds(busy=self._busy)) < _STALL_LIMIT:  # noqa: ASYNC110 - for time to pass
            await anyio.sleep(_STALL_LIMIT - still)
        if self._gateway.calls:
            self._stall(f"OpenCode did nothing for {_STALL_LIMIT:g} s: no tool ran, and the model was not asked.")
        else:
            self._stall(f"OpenCode had its task for {_STALL_LIMIT:g} s and did not ask the model.")

    @property
    def _busy(self) -> bool:
        """Whether there is a reason to be quiet: an answer is awaited, a tool runs, or OpenCode has done its part.

        After that our own program looks for what was changed, for which it has until the task's time is over.
        """
        return self._transcript.idle or self._transcript.working or self._gateway.busy

    def _build_task(self) -> dict[str, Any]:
        judge = self._assignment.judge
        return self._assignment.prompt.describe(judge.schema if judge else None)

    async def _judge_answers(self) -> None:
        """Look at typed answers, each in a thread: a schema may be long to check."""
        judge = self._assignment.judge
        if judge is None:
            return
        while True:
            repair = await anyio.to_thread.run_sync(judge.hear, await self._answers.get())
            if repair is not None:
                self._transcript.idle = False
                self._stillness.stir()
                self._report.warnings.append(judge.complaint)
                self._emit("warning", message=judge.complaint)
            self._link.send_message({"type": "verdict", "repair": repair})

    # What the container says. Called by the reader of the link; must not block.

    def _on_event(self, event: LinkEvent) -> None:
        match event:
            case Message(channel=Channel.EVENTS, body=body):
                self._stillness.stir()
                self._transcript.on_event(body)
            case _ if event.channel is Channel.MODEL:
                self._report.mark("first_model_call")
                self._stillness.stir()
                self._gateway.on_event(event)
            case _:
                super()._on_event(event)

    def _on_control(self, body: dict[str, Any]) -> None:
        if body.get("type") == "answer":
            with suppress(asyncio.QueueFull):  # more than it was asked for: a program inside is forging
                self._answers.put_nowait(body.get("answer"))
        else:
            super()._on_control(body)

    def _on_model_start(self, call: ModelCall, body: dict[str, Any]) -> None:
        self._emit(
            "model_call_started",
            index=call.index,
            model=self._source.model,
            provider=self._source.provider,
            messages=_count(body.get("messages")),
            tools=_count(body.get("tools")),
        )

    def _on_call(self, call: CallRecord) -> None:
        self._emit("model_call", **call.describe())

    def _on_failure(self, failure: GatewayFailure) -> None:
        self._report.failure = failure
        self._attention.set()


def _count(items: object) -> int:
    return len(items) if isinstance(items, list) else 0
