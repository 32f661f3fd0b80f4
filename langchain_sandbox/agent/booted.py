"""OpenCode on its way up, with the model's address that it is given: what a task needs, and a spare has ready.

It outlives a task where another one follows: its conversation goes on then.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent import children
from langchain_sandbox.agent.endpoint import Endpoint
from langchain_sandbox.agent.opencode import Feed, OpenCode, OpenCodeError
from langchain_sandbox.agent.vigil import Vigil

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.agent.wire import Outlet

_STREAM_LIMIT = 10.0
_SETTLING = 1.5  # seconds; it collects its garbage a second after the last thing that it did
_TITLE = "task"  # the same for all, since a spare's conversation begins before its task is known


class Booted:
    """Started with what it needs to answer; `attend` opens what a task needs besides.

    Args:
        wire: Where the model's calls go.
        model: What the host says of the model.
        folder: Where OpenCode is to work.
    """

    def __init__(self, wire: Outlet, model: dict[str, Any], *, folder: str) -> None:
        self.endpoint = Endpoint(wire)
        self.endpoint.start()
        self.opencode = OpenCode(context=int(model["context"]), output=int(model["output"]), folder=folder)
        self.session = ""
        """OpenCode's name for the conversation."""
        self._version = ""
        self._hear: Callable[[dict[str, Any]], None] | None = None
        self._feed: Feed | None = None
        self._lock = threading.Lock()
        self._parks = 0
        self._parking = threading.Lock()  # never held for as long as OpenCode takes to answer
        self._expected = threading.Event()
        self._vigil = Vigil()

    def wait_ready(self) -> str:
        """Wait until OpenCode answers, and return its version; at once if it did before.

        Raises:
            OpenCodeError: If it does not come up.
        """
        self._version = self._version or self.opencode.wait_ready()
        return self._version

    def attend(self) -> bool:
        """Open the stream of events and the conversation, unless they are open. The workspace is in place, or was.

        Returns:
            Whether they are open; `False` if everything was stopped meanwhile.

        Raises:
            OSError: If OpenCode does not answer.
            OpenCodeError: If it does not do what its interface promises.
        """
        with self._lock:
            parks = self._parks
            try:
                feed = self._open()
            except (OSError, OpenCodeError):
                if parks == self._parks:
                    raise
                return False
            with self._parking:
                if parks != self._parks:
                    feed.end()
                    return False
                self._feed = feed
                return True

    def _open(self) -> Feed:
        feed = self._feed
        if feed is None or not feed.flows:
            feed = self.opencode.watch(self._on_event)
        if not self.session:
            self.session = self.opencode.create_session(title=_TITLE)
        if not feed.settled.wait(_STREAM_LIMIT) or not feed.flows:
            msg = "OpenCode's event stream did not open"
            raise OpenCodeError(msg, code="opencode_api")
        return feed

    def listen(self, hear: Callable[[dict[str, Any]], None]) -> None:
        """Have somebody told of OpenCode's events from now on, in a thread."""
        self._hear = hear

    def park(self) -> bool:
        """Stop everything in the container but this program, so that it takes no time of any core.

        OpenCode's clocks go on meanwhile: the stream of events may not survive it, and is opened anew.

        Returns:
            Whether everything stands still.
        """
        with self._parking:
            self._parks += 1
            still = children.freeze_all()
            feed, self._feed = self._feed, None
        if feed is not None:
            feed.end()
        return still

    def wake(self) -> None:
        """Let everything run again, OpenCode first."""
        self.wake_opencode()
        children.thaw_all()

    def wake_opencode(self) -> None:
        """Let OpenCode run again, and nothing else."""
        self.opencode.thaw()

    def rest(self) -> bool:
        """Say whether nothing runs now, and let OpenCode alone settle; then nothing may run any more until `expect`."""
        still = children.stand_still()
        if still:
            self._expected.clear()
            threading.Thread(target=self._settle_alone, name="settling", daemon=True).start()
        return still

    def expect(self) -> None:
        """A task is coming: what it needs may run from now on, and may ask the model."""
        with self._parking:
            self._expected.set()
        self._vigil.end()
        self.endpoint.reopen()

    def _settle_alone(self) -> None:
        self.opencode.thaw()
        if self._expected.wait(_SETTLING):
            return
        with self._parking:
            if not self._expected.is_set():
                children.freeze_all()
                self._vigil.begin()  # it looks for itself whether everything stands still

    def _on_event(self, event: dict[str, Any]) -> None:
        if self._hear is not None:
            self._hear(event)
