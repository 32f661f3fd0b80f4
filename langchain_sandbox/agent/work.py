"""What every use of a container has in common: a workspace comes in, and what was changed in it goes back."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent import children
from langchain_sandbox.agent.arrival import Arrival, Mounted
from langchain_sandbox.agent.departure import Departure
from langchain_sandbox.agent.opencode import HOME, REPOSITORY
from langchain_sandbox.link import Channel, FileStream, LinkEvent

if TYPE_CHECKING:
    from langchain_sandbox.agent.wire import Outlet

_LOW_SPACE = 64 * 1024
_LOW_FILES = 2


class Work:
    """The workspace's side of it.

    Args:
        wire: The link.
        hello: What the host said first.
        arrival: How the workspace comes, where that is not as the hello says.
    """

    def __init__(self, wire: Outlet, hello: dict[str, Any], *, arrival: Arrival | None = None) -> None:
        self._wire = wire
        mounted = bool(hello.get("mounted"))
        folder = os.path.join(REPOSITORY, str(hello.get("folder") or "")).rstrip("/")
        self.arrival = arrival or (Mounted if mounted else Arrival)(wire, folder=folder)
        self._handing_in = False
        self._turn = threading.Lock()
        self._departure = None if mounted else Departure(wire, self.arrival, limit=int(hello["changes_limit"]))

    @property
    def resting(self) -> bool:
        """Whether it is done, and stands by for other work for as long as the host likes."""
        return False

    def on_event(self, event: LinkEvent) -> None:
        """Take what the host says on any channel but CONTROL; never blocks."""
        if event.channel is Channel.FILES:
            self.arrival.on_event(event)

    def on_control(self, body: dict[str, Any]) -> None:
        """Take what the host says on the CONTROL channel once the work has begun; never waits for long."""
        match body.get("type"):
            case "workspace":
                self.arrival.start(body)
            case "abort":
                self.abort()

    def assign(self, body: dict[str, Any]) -> Work:  # noqa: ARG002 - for whom it is meant
        """Begin with another task; what has its work goes on with that, and says that it cannot."""
        words = "the container has its work and takes no other"
        self._wire.send_message({"type": "failed", "code": "workspace", "message": words})
        return self

    def abort(self) -> None:
        """Stop everything that was started; what was changed until now still goes back."""
        with self._turn:
            if not self._handing_in:  # else it would be git that is killed, which finds and packs what goes back
                children.kill_all()

    def _hand_in(self, result: dict[str, Any]) -> None:
        """Send what has changed, and then the result."""
        with self._turn:
            self._handing_in = True
            self._still()
        if self._departure is not None and self.arrival.complete:
            result["changes"] = self._departure.finish(make_room=self._make_room)
        result.update(self._rest())
        # Behind the files, which must arrive before it.
        self._wire.send_message(result, channel=Channel.FILES, stream=FileStream.RESULT)

    def _still(self) -> None:
        """See to it that nothing changes the files while they are read."""
        children.kill_all()

    def _make_room(self) -> None:
        """Let go of what is only stopped: no other program can be started beside it."""
        children.kill_all()

    def _rest(self) -> dict[str, Any]:
        """All is sent: see what becomes of the container, and return what the host should know of it."""
        return {}


def find_full_filesystems() -> list[str]:
    """Which of the writable places have no room left, in bytes or in files."""
    full = []
    for path in (REPOSITORY, HOME, "/tmp"):
        try:
            status = os.statvfs(path)
        except OSError:
            continue
        if status.f_bavail * status.f_frsize < _LOW_SPACE or status.f_favail < _LOW_FILES:
            full.append(path)
    return full
