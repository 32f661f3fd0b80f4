"""Commands in a container that is held for them: what comes of one, and the EXEC channel's host side.

What the two sides say there is told in `agent/executions.py`, which this file may not import.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from langchain_sandbox.link import Channel, Data, LinkEvent, Message, Reset
from langchain_sandbox.untrusted import clean_text

if TYPE_CHECKING:
    from langchain_sandbox.engine.connection import Connection
    from langchain_sandbox.orders import Order

_MOST = 32  # at once; the container takes twice as many
_PIECE = 256 * 1024
_ANSWER_GRACE = 10.0  # beyond a command's own timeout, for a container that does not keep it
_TIMED_OUT = 124
_BROKEN = 126
_MAX_CODE = 255
_MAX_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended and what it printed.

    Args:
        output: Standard output and standard error as one, in the order in which they were written. Untrusted.
        exit_code: The command's own; 128 and the signal's number if a signal ended it, 124 if it took too long.
        timed_out: Whether it was killed for taking too long; what it had printed by then is in `output`.
        truncated: Whether it printed more than was wanted; the beginning is in `output`.
        seconds: How long it took, as the host saw it.
    """

    output: bytes
    exit_code: int
    timed_out: bool = False
    truncated: bool = False
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.exit_code == 0

    @property
    def text(self) -> str:
        """The output as text; bytes that are no UTF-8 show as �."""
        return self.output.decode("utf-8", "replace")


@dataclass(slots=True)
class _Pending:
    """A command whose end has not been heard of."""

    room: int
    cut: bool = False
    output: bytearray = field(default_factory=bytearray)
    exit: dict[str, Any] = field(default_factory=dict)
    over: anyio.Event = field(default_factory=anyio.Event)

    def take(self, payload: bytes) -> None:
        kept = payload[: self.room]
        self.room -= len(kept)
        self.cut = self.cut or len(kept) < len(payload)
        self.output += kept

    def end(self, body: dict[str, Any]) -> None:
        if not self.over.is_set():
            self.exit = body
            self.over.set()


class Executions:
    """Has commands run over one link.

    Args:
        link: The link.
    """

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._streams = itertools.count()
        self._pending: dict[int, _Pending] = {}
        self._places = anyio.CapacityLimiter(_MOST)

    async def run(self, order: Order) -> CommandResult:
        """Have a command run to its end; cancelling kills it. Waits for ever if the container goes away."""
        async with self._places:
            stream = next(self._streams)
            pending = self._pending[stream] = _Pending(order.limit)
            began = anyio.current_time()
            try:
                with anyio.move_on_after(None if order.timeout is None else order.timeout + _ANSWER_GRACE) as clock:
                    await self._send(order, stream, pending)
            finally:
                del self._pending[stream]
                if not pending.over.is_set():
                    self._link.send_reset({"reason": "nobody waits"}, channel=Channel.EXEC, stream=stream)
            if clock.cancelled_caught:
                pending.exit = {"code": _TIMED_OUT, "timed_out": True}
            seconds = anyio.current_time() - began
            return parse_exit(pending.exit, output=bytes(pending.output), cut=pending.cut, seconds=seconds)

    async def _send(self, order: Order, stream: int, pending: _Pending) -> None:
        self._link.send_message(order.describe(), channel=Channel.EXEC, stream=stream)
        async with anyio.create_task_group() as tasks:
            if order.stdin is not None:
                tasks.start_soon(self._send_input, order.stdin, stream)
            await pending.over.wait()
            tasks.cancel_scope.cancel()

    async def _send_input(self, content: bytes, stream: int) -> None:
        view = memoryview(content)
        for start in range(0, len(view), _PIECE):
            await self._link.send_data(view[start : start + _PIECE], channel=Channel.EXEC, stream=stream)
        self._link.send_end(channel=Channel.EXEC, stream=stream)

    def on_event(self, event: LinkEvent) -> None:
        """Take what the container says on the EXEC channel; never blocks, and keeps no more than was asked for."""
        pending = self._pending.get(event.stream)
        match event:
            case Data():
                if pending is not None:
                    pending.take(event.payload)
                self._link.acknowledge(event)
            case Message(body=body) | Reset(body=body) if pending is not None:
                pending.end(body)
            case _:
                pass


def parse_exit(body: dict[str, Any], *, output: bytes, seconds: float, cut: bool = False) -> CommandResult:
    """How a command ended, as far as it can be made out from what the container says. Pure.

    Args:
        body: What it says.
        output: What came before.
        seconds: How long it took.
        cut: Whether there was more than was wanted, whatever the container says of it.
    """
    code, reason = body.get("code"), clean_text(body.get("reason"), _MAX_REASON)
    known = isinstance(code, int) and not isinstance(code, bool) and 0 <= code <= _MAX_CODE
    return CommandResult(
        output=output or reason.encode(),
        exit_code=code if known else _BROKEN,  # type: ignore[arg-type]
        timed_out=body.get("timed_out") is True,
        truncated=cut or body.get("truncated") is True,
        seconds=round(seconds, 4),
    )
