"""A run whose container is held for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_sandbox.attendance import Attendance
from langchain_sandbox.run import Run

if TYPE_CHECKING:
    from langchain_sandbox.executions import CommandResult, Order


class HeldRun(Run):
    """As a `Run`, but for what is said in it: no task and no model, commands until it is finished."""

    def _open_dialogue(self) -> Attendance:
        self._attendance = Attendance(report=self._report, emit=self._emit, on_working=self._give_place)
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
