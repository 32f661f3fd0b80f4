"""Takes a container's programs where the list lets them go: names are looked up here, and connections made from here.

What comes out of the container is a name and a port, then bytes. Whether the name is on the list, where it leads and
whether that is allowed is found out on the host, and the connection goes to the very address that was looked at: a
name that means something else a moment later changes nothing.
"""

from __future__ import annotations

import logging
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.gateway.addresses import judge_address
from langchain_sandbox.gateway.passage import EgressRecord, Passage, RefusedError
from langchain_sandbox.link import Channel, Data, End, LinkEvent, Message, Reset
from langchain_sandbox.untrusted import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import SocketStream, TaskGroup

    from langchain_sandbox.egress_config import Egress
    from langchain_sandbox.engine.connection import Connection

logger = logging.getLogger(__name__)

_MAX_STREAMS = 64
_MAX_RECORDS = 1000
_MAX_NAME = 253
_MAX_LOOKUPS = 4
_LOOKUP_LIMIT = 10.0
_CONNECT_LIMIT = 10.0


class EgressRelay:
    """Answers the EGRESS channel of one run.

    Args:
        link: Where requests come from and bytes go.
        egress: The list, and how much may go through.
        tasks: Where connections live; they end with it.
        clock: Tells seconds since the run began.
        on_record: Told of each attempt when it is over.
    """

    def __init__(
        self,
        *,
        link: Connection,
        egress: Egress,
        tasks: TaskGroup,
        clock: Callable[[], float],
        on_record: Callable[[EgressRecord], None],
    ) -> None:
        self._link = link
        self._egress = egress
        self._tasks = tasks
        self._clock = clock
        self._on_record = on_record
        self._lookups = anyio.CapacityLimiter(_MAX_LOOKUPS)
        self._passages: dict[int, Passage] = {}
        self._connections = 0
        self._traffic = 0
        self.records: list[EgressRecord] = []
        self.unrecorded = 0
        """Attempts beyond those that are kept."""

    @property
    def described(self) -> list[dict[str, Any]]:
        """The attempts as plain data, in the order in which they ended."""
        return [record.describe() for record in self.records]

    def on_event(self, event: LinkEvent) -> None:
        """Take what the container says on the EGRESS channel; never blocks."""
        passage = self._passages.get(event.stream)
        match event:
            case Message(stream=stream, body={"type": "connect"} as body) if passage is None:
                self._begin(stream, body)
            case Message(body={"type": "taken", "size": int() as size}) if passage is not None:
                passage.make_room(size)
            case Data() if passage is not None:
                passage.put(event)
            case Data():
                self._link.acknowledge(event)
            case End() if passage is not None:
                passage.put(event)
            case Reset() if passage is not None:
                passage.scope.cancel()
            case _:
                pass  # late words about a connection that is over

    def _begin(self, stream: int, body: dict[str, Any]) -> None:
        if len(self._passages) >= _MAX_STREAMS:
            self._refuse(stream, f"more than {_MAX_STREAMS} connections at once")
            return
        passage = self._passages[stream] = Passage(self._link, stream)
        self._tasks.start_soon(self._serve, stream, body, passage)

    async def _serve(self, stream: int, body: dict[str, Any], passage: Passage) -> None:
        host, port = clean_text(body.get("host"), _MAX_NAME), body.get("port")
        port = port if isinstance(port, int) and not isinstance(port, bool) else 0
        record = EgressRecord(host=host, port=port, at=self._clock())
        began = time.monotonic()
        try:
            with passage.scope:
                remote = await self._connect(host.lower().removesuffix("."), record)
                async with remote:
                    self._link.send_message({"type": "open"}, channel=Channel.EGRESS, stream=stream)
                    await passage.relay(remote, record, count=self._count)
        except RefusedError as reason:
            record.refused = str(reason)
            self._refuse(stream, str(reason))
        finally:
            record.seconds = time.monotonic() - began
            record.refused = record.refused or passage.fault
            if self._passages.get(stream) is passage:
                del self._passages[stream]
            self._note(record)

    async def _connect(self, host: str, record: EgressRecord) -> SocketStream:
        """Go where a name leads.

        Raises:
            RefusedError: If that is not allowed, or nobody is there.
        """
        if not self._egress.permits(host, record.port):
            msg = f"{record.host}:{record.port} is not on the list (egress)"
            raise RefusedError(msg)
        self._connections += 1
        if self._connections > self._egress.connections:
            msg = f"more than {self._egress.connections} connections (Egress.connections)"
            raise RefusedError(msg)
        self._count(0)
        failure = "no address is known"
        for address in await _look_up(host, record.port, self._lookups):
            reason = judge_address(address, private=self._egress.private)
            if reason is not None:
                failure = f"it leads to {address}, and {reason} (Egress.networks)"
                continue
            record.address = address
            try:
                with anyio.fail_after(_CONNECT_LIMIT):
                    return await anyio.connect_tcp(address, record.port)
            except (OSError, TimeoutError) as error:
                failure = f"{address} does not answer: {str(error) or 'it took too long'}"
        msg = f"{record.host}:{record.port}: {failure}"
        raise RefusedError(msg)

    def _count(self, size: int) -> None:
        """Take bytes out of the budget.

        Raises:
            RefusedError: If there are none left.
        """
        self._traffic += size
        if self._traffic > int(self._egress.traffic):
            msg = f"more than {self._egress.traffic} bytes in and out (Egress.traffic)"
            raise RefusedError(msg)

    def _note(self, record: EgressRecord) -> None:
        logger.info("egress %s:%d: %s", record.host, record.port, record.refused or record.address)
        if len(self.records) < _MAX_RECORDS:
            self.records.append(record)
            self._on_record(record)
        else:
            self.unrecorded += 1

    def _refuse(self, stream: int, reason: str) -> None:
        self._link.send_message({"type": "refused", "message": reason}, channel=Channel.EGRESS, stream=stream)


async def _look_up(host: str, port: int, limiter: anyio.CapacityLimiter) -> list[str]:
    """The addresses of a name, those of version 4 first: few containers' hosts have a way out by the other.

    A resolver that keeps us waiting holds a thread of this run's few until it has answered, and none of anybody else's.

    Raises:
        RefusedError: If it has none.
    """
    try:
        with anyio.fail_after(_LOOKUP_LIMIT):
            look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await anyio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=limiter)
    except (OSError, ValueError) as error:
        msg = f"{host} cannot be looked up: {str(error) or 'it took too long'}"
        raise RefusedError(msg) from error
    return sorted(dict.fromkeys(str(item[4][0]) for item in found), key=lambda address: ":" in address)
