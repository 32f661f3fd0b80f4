"""A run whose container is held for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from langchain_sandbox.attendance import Attendance
from langchain_sandbox.run import Run

if TYPE_CHECKING:
    from langchain_sandbox.engine.base import Engine
    from langchain_sandbox.event_log import EventLog
    from langchain_sandbox.executions import CommandResult
    from langchain_sandbox.orders import Order
    from langchain_sandbox.places import Places
    from langchain_sandbox.request import RunRequest
    from langchain_sandbox.result import SandboxResult


class HeldRun(Run):
    """As a `Run`, but for what is said in it: no task and no model, commands until it is finished.

    Args:
        request: As for `Run`.
        engine: As for `Run`.
        places: As for `Run`.
        log: As for `Run`.
    """

    def __init__(self, request: RunRequest, *, engine: Engine, places: Places, log: EventLog) -> None:
        super().__init__(request, engine=engine, places=places, log=log)
        self.over = anyio.Event()
        """Set when it has ended, for the commands that wait."""

    async def execute(self) -> SandboxResult:
        """As `Run.execute`."""
        try:
            return await super().execute()
        finally:
            self.over.set()

    def _open_dialogue(self) -> Attendance:
        self._attendance = Attendance(report=self._report, emit=self._emit, on_working=self._opening.give_place)
        return self._attendance

    async def run_command(self, order: Order) -> CommandResult:
        """As `Attendance.run`.

        Args:
            order: The command.
        """
        return await self._attendance.run(order)

    def finish(self) -> None:
        """Have it end with all its changes; call it on the portal's loop."""
        self._attendance.finish()
