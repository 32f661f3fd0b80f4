"""PID 1 of the container: harden, take the link, do what the container is for, say what came of it, end.

That is one task, for which OpenCode is booted, maybe before there is one, or the host's commands one by one.

The end of the link is the end of everything: when the host's side closes, for whatever reason, this process exits
and the kernel takes all others with it. So does the deadline, in case nobody closes anything.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from langchain_sandbox.agent.deadline import Deadline
from langchain_sandbox.agent.harden import harden
from langchain_sandbox.agent.wire import Wire
from langchain_sandbox.link import PROTOCOL_VERSION, Channel, Data, LinkEvent, Message

if TYPE_CHECKING:
    from langchain_sandbox.agent.proxy import Proxy
    from langchain_sandbox.agent.spare import Spare
    from langchain_sandbox.agent.work import Work

EXIT_DONE = 0
EXIT_BROKEN = 70
EXIT_DEADLINE = 124
EXIT_HOST_GONE = 125

_DEADLINE_GRACE = 10.0  # the host ends the run at its deadline; this is for a host that cannot


class Agent:
    """Sorts what the host says to the parts that it concerns."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.wire = Wire(read_fd=read_fd, write_fd=write_fd, on_event=self._on_event, on_end=_end_of_link)
        self._work: Spare | Work | None = None
        self._proxy: Proxy | None = None
        self._deadline = Deadline(self._expire)
        self._hello = threading.Event()
        self._bye = threading.Event()

    def run(self) -> NoReturn:
        """Serve the host until it says bye."""
        self.wire.start()
        self.wire.send_message(
            {
                "type": "ready",
                "protocol": PROTOCOL_VERSION,
                "opencode": os.environ.get("OPENCODE_VERSION", ""),
                "uid": os.getuid(),
            }
        )
        self._hello.wait()
        self._bye.wait()
        os._exit(EXIT_DONE)

    def _on_event(self, event: LinkEvent) -> None:
        if isinstance(event, Message) and event.channel is Channel.CONTROL:
            self._on_control(event.body)
        elif self._work is not None and event.channel in {Channel.MODEL, Channel.EXEC, Channel.FILES}:
            self._work.on_event(event)
        elif self._proxy is not None and event.channel is Channel.EGRESS:
            self._proxy.on_event(event)
        elif isinstance(event, Data):
            self.wire.acknowledge(event)

    def _on_control(self, body: dict[str, Any]) -> None:
        match body.get("type"):
            case "hello" if self._work is None:
                self._start(body)
            case "assign" if self._work is not None:
                self._set_deadline(body)
                self._work = self._work.assign(body)
            case "bye":
                self._bye.set()
            case _ if self._work is not None:
                self._work.on_control(body)

    def _start(self, hello: dict[str, Any]) -> None:
        if hello.get("protocol") != PROTOCOL_VERSION:
            words = f"the host speaks protocol {hello.get('protocol')}, the image {PROTOCOL_VERSION}: rebuild the image"
            self.wire.send_message({"type": "failed", "code": "protocol_version", "message": words})
            return
        if not hello.get("spare"):
            self._set_deadline(hello)
        if hello.get("egress"):
            self._proxy = _open_proxy(self.wire)
        self._work = _make_work(self.wire, hello)
        self._hello.set()

    def _set_deadline(self, body: dict[str, Any]) -> None:
        """Have the container end some time after the moment when the host ends the run."""
        self._deadline.move(float(body["deadline"]) + _DEADLINE_GRACE)

    def _expire(self) -> None:
        if self._work is None or not self._work.resting:
            os._exit(EXIT_DEADLINE)


def _open_proxy(wire: Wire) -> Proxy:
    """A way out; whatever is started from now on is told of it."""
    from langchain_sandbox.agent.proxy import Proxy  # noqa: PLC0415 - few containers have one

    proxy = Proxy(wire)
    proxy.start()
    return proxy


def _make_work(wire: Wire, hello: dict[str, Any]) -> Spare | Work:
    """What the container is for, by what the host said first."""
    # Imported now, after the link is up: the host measures the time to `ready`, and sends the files meanwhile.
    if hello.get("model") is None:
        from langchain_sandbox.agent.shell import Shell  # noqa: PLC0415

        return Shell(wire, hello)
    if hello.get("spare"):
        from langchain_sandbox.agent.spare import Spare  # noqa: PLC0415

        return Spare(wire, hello)
    from langchain_sandbox.agent.task import Task  # noqa: PLC0415

    return Task(wire, hello)


def main() -> NoReturn:
    """Run as PID 1."""
    harden()
    read_fd, write_fd = take_link()
    threading.excepthook = broken
    # A model's words pass through three threads here; the default of 5 ms is for programs that compute.
    sys.setswitchinterval(0.0005)
    try:
        from langchain_sandbox.agent import children  # noqa: PLC0415 - after the descriptors are safe

        children.start_reaper()
        Agent(read_fd, write_fd).run()
    except BaseException as error:  # noqa: BLE001 - PID 1 has nobody above it
        print(f"agent: {error!r}", file=sys.stderr, flush=True)
        os._exit(EXIT_BROKEN)


def take_link() -> tuple[int, int]:
    """Move the link away from descriptors 0 and 1, so that nothing that we start or import can speak on it.

    Returns:
        Where it is read and written from now on.
    """
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    return read_fd, write_fd


def broken(failure: threading.ExceptHookArgs) -> None:
    """A thread of ours that fails must end the run, not leave the host waiting."""
    import traceback  # noqa: PLC0415 - only for the end of the world

    traceback.print_exception(failure.exc_type, failure.exc_value, failure.exc_traceback)
    sys.stderr.flush()
    os._exit(EXIT_BROKEN)


def _end_of_link(reason: str) -> None:
    print(f"agent: {reason}", file=sys.stderr, flush=True)
    os._exit(EXIT_HOST_GONE)
