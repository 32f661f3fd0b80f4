"""A spare: OpenCode is booted and has done a task of no meaning before there is one, and sleeps until there is.

The task is the host's, which answers it in the model's place. It has OpenCode load and compile whatever a task needs,
in the folder where the repository will be: a folder that OpenCode sees later for the first time costs it a second.
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent.booted import Booted
from langchain_sandbox.agent.opencode import REPOSITORY, OpenCodeError
from langchain_sandbox.agent.repository import call, make_repository
from langchain_sandbox.agent.task import Task
from langchain_sandbox.link import Channel, LinkEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.agent.wire import Outlet

_TASK = "Warm up."
_MEMORY = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


class Spare:
    """Boots and warms up at once, then obeys: `again`, `park`, `wake`, and `assign`, which makes a task of it.

    Args:
        wire: The link.
        hello: What the host said first.
    """

    resting = True
    """As of any work: it waits for as long as the host likes."""

    def __init__(self, wire: Outlet, hello: dict[str, Any]) -> None:
        self._wire = wire
        self._folder = os.path.join(REPOSITORY, str(hello.get("folder") or "")).rstrip("/")
        self._booted = Booted(wire, hello["model"], folder=self._folder)
        self._assigned = False
        self._start(self._warm)
        threading.Thread(target=self._stand_by, name="stand_by", daemon=True).start()

    def on_event(self, event: LinkEvent) -> None:
        """Take what the host says in the model's place."""
        if event.channel is Channel.MODEL:
            self._booted.endpoint.on_event(event)

    def on_control(self, body: dict[str, Any]) -> None:
        """Take what the host says; never waits."""
        match body.get("type"):
            case "again":
                self._start(self._do_round)
            case "park":
                self._park()
            case "wake":
                self._booted.wake()
                self._start(self._attend, body.get("number"))

    def assign(self, body: dict[str, Any]) -> Task:
        """Become what the spare was made for.

        Args:
            body: What the host says of the task; what it said first holds still.
        """
        self._assigned = True
        return Task(self._wire, body, booted=self._booted)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=self._do, args=(work, *arguments), name="spare", daemon=True).start()

    def _do(self, work: Callable[..., None], *arguments: object) -> None:
        """Do something, or say that it failed."""
        try:
            work(*arguments)
        except OpenCodeError as error:
            self._fail(error.code, str(error))
        except OSError as error:
            self._fail("opencode_gone", str(error))

    def _fail(self, code: str, words: str) -> None:
        self._wire.send_message({"type": "failed", "code": code, "message": words})

    def _park(self) -> None:
        if self._booted.park():
            self._wire.send_message({"type": "parked", "memory": _measure_memory()})
        else:
            self._fail("opencode_gone", "not everything in the container could be stopped")

    def _attend(self, number: object) -> None:
        """That the stream of events opens shows that OpenCode is well.

        Args:
            number: Which of the host's wishes to wake up it is, so that it does not take one's answer for another's.
        """
        if self._booted.attend():
            self._wire.send_message({"type": "awake", "number": number})

    def _stand_by(self) -> None:
        """Say so if OpenCode ends before there is a task: nobody would come to wake it up."""
        code = self._booted.opencode.wait_end()
        if not self._assigned:
            self._fail("opencode_gone", f"OpenCode ended with {code} while it waited for a task")

    def _warm(self) -> None:
        self._booted.wait_ready()
        self._do_round()

    def _do_round(self) -> None:
        """Do the task of no meaning; what is done often is compiled better, so each time makes tasks quicker."""
        opencode = self._booted.opencode
        _make_repository(self._folder)
        session = opencode.create_session(title=_TASK)
        opencode.prompt(session, parts=[{"type": "text", "text": _TASK}], agent="build")
        opencode.delete_session(session)
        _clear()
        self._booted.attend()  # the conversation can be begun now, and the next time only the events' stream is opened
        self._wire.send_message({"type": "warm"})


def _make_repository(folder: str) -> None:
    """As little of a repository as OpenCode takes for one."""
    os.makedirs(folder, exist_ok=True)
    make_repository("main")
    call("-c", "user.name=-", "-c", "user.email=-", "commit", "--quiet", "--allow-empty", "--message=-")


def _clear() -> None:
    """Remove what warming up has left; nothing of it is for the task to find.

    Raises:
        OSError: If something of it is still there.
    """
    for entry in os.scandir(REPOSITORY):
        with suppress(OSError):  # OpenCode may be about to remove something, too: what counts is what is left
            shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
    if left := os.listdir(REPOSITORY):
        msg = f"{left[0]!r} of the warm-up cannot be removed"
        raise OSError(msg)


def _measure_memory() -> int | None:
    """Bytes that the container takes, as its kernel counts them."""
    for path in _MEMORY:
        with suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            return int(file.read())
    return None
