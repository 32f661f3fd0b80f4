"""The container's end of the lifeline: the link to the gateway service, and what it tells of the model."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent.wire import Wire
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.gateway.record import CallRecord
from langchain_sandbox.link import PROTOCOL_VERSION, Channel, Data, LinkEvent, Message

if TYPE_CHECKING:
    from collections.abc import Callable

SOCKET = "/host/gateway/llm/link.sock"
LOCK = "/host/gateway/llm/gateway.lock"  # the gateway's for as long as it lives

_CONNECT_LIMIT = 10.0
_HELLO_LIMIT = 10.0
_RECORD_LIMIT = 2.0
_GONE_LIMIT = 5.0
_RETRY = 0.05


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the run cannot go on, in the gateway's words."""

    code: str
    message: str


@dataclass(slots=True)
class Used:
    """What the run has used of the model."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Record:
    """What the gateway relayed in all."""

    records: list[CallRecord] = field(default_factory=list)
    budget: Used = field(default_factory=Used)
    refused: list[str] = field(default_factory=list)


class Lifeline:
    """The link to the gateway service.

    Args:
        on_failure: Called when the gateway says that the run cannot go on.
        on_call: Called with the gateway's word of each call of the model.
        on_end: Called with the reason when the link is over.
    """

    def __init__(
        self,
        *,
        on_failure: Callable[[Failure], None],
        on_call: Callable[[CallRecord], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._on_failure = on_failure
        self._on_call = on_call
        self._on_end = on_end
        self._greeted = threading.Event()
        self._recorded = threading.Event()
        self._misconfigured: str | None = None
        self._socket: socket.socket | None = None
        self._lock: int | None = None
        self._parting = False
        self._last = False
        self.on_model: Callable[[LinkEvent], None] | None = None
        self.model: dict[str, Any] | None = None
        self.record = Record()
        self.wire: Wire

    def open(self, wanted: str | None) -> bool:
        """Connect and wait for the gateway's word; `False` if it is that the model cannot be used.

        Args:
            wanted: The model that a command asks for.

        Raises:
            SandboxConfigError: If the gateway is not there, or says that its settings cannot work.
        """
        self._socket = _connect()
        with suppress(OSError):
            self._lock = os.open(LOCK, os.O_RDONLY)  # now, while it can be reached
        descriptor = self._socket.fileno()
        self.wire = Wire(read_fd=descriptor, write_fd=descriptor, on_event=self._on_event, on_end=self._end)
        self.wire.start()
        self.wire.send_message({"type": "open", "model": wanted})
        if not self._greeted.wait(_HELLO_LIMIT):
            msg = "The gateway service does not answer. Look at its log (docker compose -f FILE logs gateway)."
            raise SandboxConfigError(msg)
        if self._misconfigured is not None:
            self.close()
            raise SandboxConfigError(self._misconfigured)
        return self.model is not None

    def close(self) -> None:
        """Ask for the record of what was relayed, and let go. A gateway that ends with this run ends now."""
        if self._socket is None or self._parting:
            return
        self._parting = True
        self.wire.send_message({"type": "bye"})
        self._recorded.wait(_RECORD_LIMIT)

    def await_gateway(self) -> None:
        """Wait until a gateway that ends with this run is gone: compose must not take it for one that runs."""
        if self._last and self._lock is not None:
            _await_release(self._lock)

    def _on_event(self, event: LinkEvent) -> None:
        if isinstance(event, Message) and event.channel is Channel.CONTROL:
            self._on_control(event.body)
        elif event.channel is Channel.MODEL and self.on_model is not None:
            self.on_model(event)
        elif isinstance(event, Data):
            self.wire.acknowledge(event)

    def _on_control(self, body: dict[str, Any]) -> None:
        match body:
            case {"type": "hello", "protocol": protocol, "model": dict(model)}:
                if protocol == PROTOCOL_VERSION:
                    self.model = model
                else:
                    self._misconfigured = "The gateway service runs another version's image; take it down: down -v"
                self._greeted.set()
            case {"type": "misconfigured", "message": str(message)}:
                self._misconfigured = message
                self._greeted.set()
            case {"type": "failure", "code": str(code), "message": str(message)}:
                self._on_failure(Failure(code, message))
                self._greeted.set()
            case {"type": "call"}:
                self._on_call(CallRecord(**{name: body[name] for name in body if name != "type"}))
            case {"type": "record", "calls": list(calls), "refused": list(refused), "used": dict(used)}:
                self._last = body.get("last") is True
                self.record = Record([CallRecord(**call) for call in calls], Used(**used), refused)
                self._recorded.set()
            case _:
                pass

    def _end(self, reason: str) -> None:
        self._recorded.set()
        if not self._greeted.is_set():
            self._misconfigured = f"The gateway service went away ({reason}). Look at its log."
            self._greeted.set()
        if not self._parting:
            self._on_end(reason.replace("the host", "the gateway"))


def _await_release(lock: int) -> None:
    """Wait until nobody holds the lock."""
    deadline = time.monotonic() + _GONE_LIMIT
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        time.sleep(_RETRY)


def _connect() -> socket.socket:
    """Connect to the gateway, which compose has started a moment ago.

    Raises:
        SandboxConfigError: If nobody listens.
    """
    deadline = time.monotonic() + _CONNECT_LIMIT
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(SOCKET)
        except OSError as error:
            connection.close()
            if time.monotonic() > deadline:
                msg = (
                    f"The gateway service is not there ({error.strerror}). Start this container by the compose file, "
                    "whose gateway starts with it; if it has just ended, run the same command again."
                )
                raise SandboxConfigError(msg) from error
            time.sleep(_RETRY)
        else:
            return connection
