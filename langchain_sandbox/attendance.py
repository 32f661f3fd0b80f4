"""What host and container say to each other while the container is held for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_sandbox.dialogue import Dialogue
from langchain_sandbox.executions import CommandResult, Executions
from langchain_sandbox.link import Channel, LinkEvent
from langchain_sandbox.narration import narrate_input
from langchain_sandbox.transcript import Step, ToolUse
from langchain_sandbox.untrusted import clean_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from langchain_sandbox.orders import Order
    from langchain_sandbox.report import Report

_TOOL = "bash"
_MAX_USES = 200
_MAX_TITLE = 300
_MAX_OUTPUT = 32 * 1024


class Attendance(Dialogue):
    """A container that is held for commands.

    Args:
        report: Filled in with what is seen.
        emit: Called with an event's type and its fields.
        on_working: Called when the workspace is in place.
    """

    def __init__(self, *, report: Report, emit: Callable[..., None], on_working: Callable[[], None]) -> None:
        super().__init__(report=report, emit=emit, on_working=on_working)
        self._executions: Executions
        self._uses: list[ToolUse] = []
        self._count = 0
        self._finishing = False
        self._closed = False

    async def run(self, order: Order) -> CommandResult:
        """Have a command run. Cancelling kills it. Waits for ever if the container goes away; the run's end tells that.

        Args:
            order: The command.
        """
        await self._working.wait()
        self._count += 1
        call_id, began = f"command-{self._count}", self._report.clock()
        given = clean_json({"command": order.title})
        self._emit("tool_started", call_id=call_id, tool=_TOOL, input=given)
        result: CommandResult | None = None
        try:
            result = await self._executions.run(order)
        finally:
            if not self._closed:
                status = "error" if result is None or result.timed_out else "completed"
                output = "It was cancelled." if result is None else _show(result.output)
                self._emit("tool_ended", call_id=call_id, tool=_TOOL, status=status, output=output)
                seconds, title = round(self._report.clock() - began, 4), narrate_input(given)[:_MAX_TITLE]
                self._note(ToolUse(tool=_TOOL, title=title, status=status, at=began, seconds=seconds))
        return result

    def finish(self) -> None:
        """Have the changes come out and the container end; call it on the portal's loop."""
        self._report.finished = True
        self._finishing = True
        if self._working.is_set():
            self._link.send_message({"type": "abort"})

    def _prepare(self, tasks: TaskGroup) -> None:  # noqa: ARG002 - commands run in their callers' tasks
        self._executions = Executions(self._link)

    async def _close(self) -> None:
        self._closed = True

    def _note(self, use: ToolUse) -> None:
        if len(self._uses) < _MAX_USES:
            self._uses.append(use)
            self._report.steps = [Step(index=0, tools=[use.tool for use in self._uses], uses=self._uses)]

    async def _watch_work(self) -> None:
        if self._finishing:  # it was asked for before there was anybody to tell
            self._link.send_message({"type": "abort"})

    def _on_event(self, event: LinkEvent) -> None:
        if event.channel is Channel.EXEC:
            self._executions.on_event(event)
        else:
            super()._on_event(event)


def _show(output: bytes) -> str:
    """A command's output for people."""
    beginning = output[:_MAX_OUTPUT]
    return f"({len(output)} bytes that are no text)" if b"\0" in beginning else beginning.decode("utf-8", "replace")
