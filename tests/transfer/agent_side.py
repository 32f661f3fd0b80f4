"""Everything that the driver needs of the package's own program in the container; it runs there, as source.

Only this file knows how a workspace is received and how changes are sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent.arrival import Arrival
from langchain_sandbox.agent.departure import Departure
from langchain_sandbox.agent.opencode import REPOSITORY, tool_environment

if TYPE_CHECKING:
    from langchain_sandbox.agent.wire import Outlet
    from langchain_sandbox.link import LinkEvent

FOLDER = REPOSITORY
ENVIRONMENT = tool_environment()


class Visit:
    """One workspace's time in the container."""

    def __init__(self, wire: Outlet, folder: str = "") -> None:
        self._wire = wire
        self.folder = f"{FOLDER}/{folder}".rstrip("/")
        self._arrival = Arrival(wire, folder=self.folder)

    def on_event(self, event: LinkEvent) -> None:
        """Take what the host says on the FILES channel."""
        self._arrival.on_event(event)

    def receive(self, description: dict[str, Any]) -> None:
        """Wait until the workspace is in place."""
        self._arrival.start(description)
        self._arrival.wait()

    def send_changes(self, limit: int) -> dict[str, Any]:
        """Send what differs from what arrived, and return the summary."""
        return Departure(self._wire, self._arrival, limit=limit).finish()
