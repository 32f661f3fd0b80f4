"""The sessions of a graph's threads: a thread's tasks go into one of its own, for as long as somebody comes for it.

They belong to a sandbox, so whatever hands it tasks of one thread, a node or several tools, shares the conversation.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from langchain_core.runnables.config import ensure_config

from langchain_sandbox.lease import ProcessLock

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from langchain_sandbox.session import Session
    from langchain_sandbox.workspace_config import Workspace

MOST = 8
"""Sessions of threads that a sandbox has at a time; each of them is a container with a booted OpenCode."""

_REMEMBERED = 10_000

_Key = tuple[str, str]


class ThreadSessions:
    """Finds a thread's session, or begins one. It never waits; may be called from any thread.

    Args:
        begin: Makes a session, of a workspace and with seconds that it waits for its next task.
        most: How many there are at a time; for one more, the one that was used the longest time ago ends as soon as its
            tasks are over.
    """

    def __init__(self, begin: Callable[[Workspace | None, float], Session], *, most: int = MOST) -> None:
        self._begin = begin
        self._most = most
        self._lock = ProcessLock()
        self._live: dict[_Key, Session] = {}  # the one that was used last is the last one
        self._ended: dict[_Key, None] = {}  # threads that had a session

    def get(self, thread: str, workspace: Workspace | None, *, ttl: float) -> tuple[Session, bool]:
        """A thread's session for one workspace, and whether the thread had an earlier one that is over.

        Args:
            thread: The thread's id.
            workspace: What the session works on.
            ttl: Seconds that a session which is begun waits for its next task.

        Raises:
            SandboxConfigError: If there can be no session of this workspace.
        """
        key = (thread, repr(workspace))
        with self._own():
            session = self._live.pop(key, None)
            if session is not None and session.over:
                self._ended[key] = None
                session = None
            if session is None:
                session = self._begin(workspace, ttl)
            self._live[key] = session
            self._make_room()
            return session, key in self._ended

    def note(self, thread: str, workspace: Workspace | None) -> None:
        """A task of a thread has begun: it was told if there was an earlier session.

        Args:
            thread: The thread's id.
            workspace: What the session works on.
        """
        with self._own():
            self._ended.pop((thread, repr(workspace)), None)

    def end(self, thread: str) -> None:
        """End what a thread has, as soon as its tasks are over: its next task begins anew."""
        with self._own():
            for key in [key for key in self._live if key[0] == thread]:
                self._retire(key)

    def close(self) -> None:
        """End all of them, with the tasks that are under way, and wait until their containers are gone."""
        sessions = self._take_all()
        with ThreadPoolExecutor(max(1, len(sessions))) as closers:
            for closing in [closers.submit(session.close) for session in sessions]:
                closing.result()

    async def aclose(self) -> None:
        """As `close`."""
        await asyncio.gather(*(session.aclose() for session in self._take_all()))

    def _take_all(self) -> list[Session]:
        with self._own():
            sessions, self._live = list(self._live.values()), {}
        return sessions

    def _make_room(self) -> None:
        for key in [key for key, session in self._live.items() if session.over]:
            self._retire(key)
        while len(self._live) > self._most:
            self._retire(next(iter(self._live)))
        while len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def _retire(self, key: _Key) -> None:
        self._live.pop(key).leave()
        self._ended[key] = None

    def _own(self) -> threading.Lock:
        return self._lock.take(self._forget)

    def _forget(self) -> None:
        """A forked child begins with none: those of its parent are its parent's."""
        self._live = {}


def find_thread() -> str | None:
    """The id of the graph's thread that we are called in; `None` where there is none."""
    thread = ensure_config().get("configurable", {}).get("thread_id")
    return str(thread) if thread else None
