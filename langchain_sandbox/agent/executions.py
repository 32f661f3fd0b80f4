"""Commands that the host sends: each one a child of PID 1 in a session of its own.

A child of PID 1 has its system call filter and everything else that keeps the container closed; what comes in by
`docker exec` has not.

What the host says on a stream of the EXEC channel is one message, `{"type": "exec", "command": [...], "cwd": ...,
"timeout": ..., "limit": ..., "stdin": ...}`, and where `stdin` is true DATA and END. What it gets is DATA, standard
output and standard error as one, at most `limit` bytes of it; then `{"type": "exit", "code": ..., "timed_out": ...,
"truncated": ...}` and END, or a RESET where there was no room for it. A RESET from the host kills the command with its
group. A command that the end of everything kills gets no more words: the container's result says why.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import subprocess
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent import children
from langchain_sandbox.agent.arrival import ArrivalError
from langchain_sandbox.agent.opencode import tool_environment
from langchain_sandbox.link import Channel, Data, End, LinkEvent, Message, Reset

if TYPE_CHECKING:
    from langchain_sandbox.agent.arrival import Arrival
    from langchain_sandbox.agent.wire import Outlet

_MOST = 64
_LEFT_BEHIND = 32
_CHUNK = 64 * 1024
_LAST_WORDS = 0.5  # after a command's end, for the output that its own children still have to write
_TIMED_OUT = 124
_CANNOT_START = 126
_NOT_FOUND = 127


class Executions:
    """Everything that comes on the EXEC channel.

    Args:
        wire: The link.
        arrival: The workspace; commands wait until all of it is there.
    """

    def __init__(self, wire: Outlet, arrival: Arrival) -> None:
        self._wire = wire
        self._arrival = arrival
        self._running: dict[int, _Execution] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._left_behind = threading.Semaphore(_LEFT_BEHIND)

    def on_event(self, event: LinkEvent) -> None:
        """Take what the host says; never blocks."""
        execution = self._running.get(event.stream)
        match event:
            case Message(body=body) if execution is None:
                self._take(event.stream, body)
            case Data():
                if execution is not None:
                    execution.take(event.payload)
                self._wire.acknowledge(event)
            case End() if execution is not None:
                self._start(execution)
            case Reset() if execution is not None:
                execution.kill()
                if not execution.started:
                    self._forget(execution)

    def close(self) -> None:
        """Start nothing any more."""
        self._closed.set()

    def _take(self, stream: int, order: dict[str, Any]) -> None:
        execution = _Execution(self._wire, stream, order, closed=self._closed)
        if len(self._running) >= _MOST:
            self._refuse(stream, f"{_MOST} commands are running already")
            return
        with self._lock:
            self._running[stream] = execution
        if not order.get("stdin"):
            self._start(execution)

    def _start(self, execution: _Execution) -> None:
        if execution.started:
            return
        execution.started = True
        try:
            threading.Thread(target=self._run, args=(execution,), name="execution", daemon=True).start()
        except RuntimeError:  # a command has used up all processes that the container may have
            self._forget(execution)
            self._refuse(execution.stream, "there is no room for another process")

    def _run(self, execution: _Execution) -> None:
        try:
            self._arrival.wait()
        except ArrivalError:
            self._forget(execution)
            return  # the result says it, and is the end of everything
        if not self._closed.is_set():
            execution.run(self._arrival.folder)
        self._forget(execution)
        # What was left running in the background goes on, and may go on writing.
        if self._left_behind.acquire(blocking=False):
            execution.drain()
            self._left_behind.release()
        execution.close()

    def _refuse(self, stream: int, reason: str) -> None:
        """Say that nothing was started. In the thread that reads the link, where output might have to wait."""
        self._wire.send_reset({"reason": reason}, channel=Channel.EXEC, stream=stream)

    def _forget(self, execution: _Execution) -> None:
        with self._lock:
            self._running.pop(execution.stream, None)


class _Execution:
    """One command, from its order to its end."""

    def __init__(self, wire: Outlet, stream: int, order: dict[str, Any], *, closed: threading.Event) -> None:
        self.stream = stream
        self.started = False
        self._wire = wire
        self._order = order
        self._closed = closed
        # All of it is taken before the command starts: one that does not read would hold up all others' input.
        self._given = children.in_memory("stdin") if order.get("stdin") else None
        self._room = int(order["limit"])
        self._truncated = False
        self._killed = False
        self._child: subprocess.Popen[bytes] | None = None

    def take(self, payload: bytes) -> None:
        """A piece of standard input."""
        if self._given is not None and not self.started:
            self._given.write(payload)

    def kill(self) -> None:
        """Have it end, wherever it is."""
        self._killed = True
        if self._child is not None:
            children.kill(self._child)

    def _fail(self, words: str, code: int = _CANNOT_START) -> None:
        """Say what a shell would where a program cannot be started."""
        self._pass_on(f"{words}\n".encode("utf-8", "replace"))  # a name need not be text
        self._end(code)

    def run(self, folder: str) -> None:
        """Start it in a folder, or from there, pass on what it prints and say how it ended."""
        given = self._given
        if given is not None:
            given.seek(0)
        try:
            self._child = child = children.spawn(
                [str(part) for part in self._order["command"]],
                cwd=os.path.join(folder, str(self._order["cwd"])),
                env=tool_environment(),
                stdin=subprocess.DEVNULL if given is None else given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except FileNotFoundError as error:
            self._fail(f"{error.filename}: {error.strerror}", _NOT_FOUND)
            return
        except (OSError, ValueError) as error:
            self._fail(str(error))
            return
        finally:
            if given is not None:
                given.close()
        if self._killed or self._closed.is_set():  # said while it was being started
            children.kill(child)
        timed_out = self._follow(child)
        code = children.wait(child) or 0
        children.forget(child)
        self._end(_TIMED_OUT if timed_out else code if code >= 0 else 128 - code, timed_out=timed_out)

    def _follow(self, child: subprocess.Popen[bytes]) -> bool:
        """Pass on what it prints until it has ended, and return whether it had to be killed for taking too long."""
        assert child.stdout is not None
        output, ended = child.stdout.fileno(), children.watch(child)
        ready = select.poll()
        ready.register(output, select.POLLIN)
        ready.register(ended, select.POLLIN)
        timeout = self._order.get("timeout")
        deadline = None if timeout is None else time.monotonic() + float(timeout)
        timed_out, owed = False, 0
        open_, running = True, True
        while running or (open_ and (owed > 0 or deadline is None or time.monotonic() < deadline)):
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            happened = {descriptor for descriptor, _ in ready.poll(left)}
            if not happened and not running:
                break
            if output in happened:
                piece = os.read(output, _CHUNK)
                self._pass_on(piece)
                owed -= len(piece)
                if not piece:
                    open_, owed = False, 0
                    ready.unregister(output)
            if ended in happened:
                running = False
                ready.unregister(ended)
                # What is in the pipe now is the command's own; behind it, somebody else may write for ever.
                owed, deadline = _count_waiting(output) if open_ else 0, time.monotonic() + _LAST_WORDS
            elif running and deadline is not None and time.monotonic() >= deadline:
                timed_out, deadline = True, None
                children.kill(child)
        os.close(ended)
        return timed_out

    def _pass_on(self, piece: bytes) -> None:
        kept = piece[: self._room]
        self._truncated = self._truncated or len(kept) < len(piece)
        self._room -= len(kept)
        if kept:
            self._wire.send_data(kept, channel=Channel.EXEC, stream=self.stream)

    def _end(self, code: int, *, timed_out: bool = False) -> None:
        if self._closed.is_set():
            return
        exit_ = {"type": "exit", "code": code, "timed_out": timed_out, "truncated": self._truncated}
        self._wire.send_message(exit_, channel=Channel.EXEC, stream=self.stream)
        self._wire.send_end(channel=Channel.EXEC, stream=self.stream)

    def drain(self) -> None:
        """Read on, for nobody, until nothing has the output open any more."""
        if self._child is not None and self._child.stdout is not None:
            while os.read(self._child.stdout.fileno(), _CHUNK):
                pass

    def close(self) -> None:
        """Let go of the output."""
        if self._child is not None and self._child.stdout is not None:
            self._child.stdout.close()


def _count_waiting(descriptor: int) -> int:
    """Bytes that are in a pipe."""
    waiting = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
    return waiting[0]
