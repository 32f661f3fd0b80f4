"""A container that is held for commands: no OpenCode and no model in it, the host says one command after another."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent.arrival import ArrivalError
from langchain_sandbox.agent.executions import Executions
from langchain_sandbox.agent.work import Work, find_full_filesystems
from langchain_sandbox.link import Channel, LinkEvent

if TYPE_CHECKING:
    from langchain_sandbox.agent.wire import Outlet


class Shell(Work):
    """Runs what the host asks for until it aborts, which is the usual end: then what was changed goes back."""

    def __init__(self, wire: Outlet, hello: dict[str, Any]) -> None:
        super().__init__(wire, hello)
        self._executions = Executions(wire, self.arrival)
        self._over = threading.Event()
        # Started now: later the container may have as many processes as it may have.
        threading.Thread(target=self._run, name="shell", daemon=True).start()

    def on_event(self, event: LinkEvent) -> None:
        """Take what the host says; commands, and the workspace."""
        if event.channel is Channel.EXEC:
            self._executions.on_event(event)
        else:
            super().on_event(event)

    def abort(self) -> None:
        """End all commands and send back what they changed."""
        self._executions.close()
        super().abort()
        self._over.set()

    def _run(self) -> None:
        result: dict[str, Any] = {"type": "result", "finish": None, "text": "", "error": None}
        try:
            self.arrival.wait()
            if self._departure is not None:
                self._departure.start()
            self._wire.send_message({"type": "working"})
            self._over.wait()
        except ArrivalError as error:
            result["error"] = {"name": "workspace", "message": str(error)}
        result["full"] = find_full_filesystems()
        self._hand_in(result)
