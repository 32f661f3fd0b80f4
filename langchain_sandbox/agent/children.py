"""Start processes and learn how they ended, as PID 1 has to: every orphan in the container is ours to reap.

`waitpid(-1)` takes any child's exit, so `Popen.wait` cannot be used beside it; this table is asked instead.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import threading
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_CHUNK = 64 * 1024
_EXPENDABLE = "500"
_EXPOSING = 100  # times that it is tried; a program that nobody may read stays closed
_KILL_LIMIT = 2.0
_FREEZE_LIMITS = (0.3, 0.6, 1.2, 2.4)  # on a busy machine each of many threads waits for its turn to stop
_STILL = {b"T", b"t", b"Z", b"X", b"x"}  # the kernel's letters for stopped, stopped by a debugger, and ended
_EXITING = 0x4  # PF_EXITING, of the kernel's: on its way out, and never to run a program again
_LAST_WORDS = 1.0  # after the timeout, for the pipe of what was killed to come to its end


class ExitError(OSError):
    """A program ran to its end and failed; any other `OSError` says that it could not be run, or not to its end."""


_exits: dict[int, int] = {}
_ours: dict[int, subprocess.Popen[bytes]] = {}
_watched: dict[int, int] = {}  # what to close when the process with this id has ended
_changed = threading.Condition()
_reaping = False
_idle = False


def start_reaper() -> None:
    """Reap children, until `stop_reaper` or for as long as the container lives."""
    global _reaping, _idle
    _reaping, _idle = True, False
    threading.Thread(target=_reap, name="reaper", daemon=True).start()


def stop_reaper(timeout: float) -> bool:
    """Stop reaping, once there is nothing left to reap; from then on `subprocess` can be used as usual.

    Args:
        timeout: Seconds to wait for processes that were killed to be gone.

    Returns:
        Whether all of them are.
    """
    global _reaping  # noqa: PLW0603 - as above
    with _changed:
        _reaping = False
        _changed.notify_all()
        return _changed.wait_for(lambda: _idle, timeout)


def spawn(
    command: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    session: Literal["own", "ours"] = "own",
) -> subprocess.Popen[bytes]:
    """Start a process; wait for it with `wait`, never with the object's own method.

    Args:
        command: The program and its arguments.
        cwd: Where it starts.
        env: All of its environment.
        stdin: As for `subprocess.Popen`; nothing by default.
        stdout: As for `subprocess.Popen`.
        stderr: As for `subprocess.Popen`.
        session: `"own"` keeps it from a terminal; `"ours"` is for the one program that has ours.
    """
    with _changed:
        # What PID 1 blocks is not to be blocked in every program that it starts.
        blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            child = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=session == "own",
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        _exits.pop(child.pid, None)  # an earlier process with this number
        _ours[child.pid] = child
        _changed.notify_all()
    # Not under the lock: who reaps needs it, and until a process that has ended is reaped, nobody may touch it.
    _expose(child.pid)
    return child


def _expose(pid: int) -> None:
    """Have the kernel, when memory runs out, take this process and its children before it takes us."""
    for _ in range(_EXPOSING):
        try:
            with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
                file.write(_EXPENDABLE)
        except PermissionError:
            # Until its program is in place it is as closed to everybody as we are, from whom it comes.
            time.sleep(0.001)
        except OSError:
            return  # it is gone already
        else:
            return


def wait(child: subprocess.Popen[bytes], timeout: float | None = None) -> int | None:
    """The exit code (negative for a signal), or `None` if it still runs after `timeout` seconds."""
    with _changed:
        _changed.wait_for(lambda: child.pid in _exits, timeout)
        return _exits.get(child.pid)


def watch(child: subprocess.Popen[bytes]) -> int:
    """A descriptor whose end can be read once the process has ended, for whoever polls others too; close it."""
    read_fd, write_fd = os.pipe()
    with _changed:
        if child.pid in _exits:
            os.close(write_fd)
        else:
            _watched[child.pid] = write_fd
    return read_fd


def kill(child: subprocess.Popen[bytes]) -> None:
    """Kill a process with its group, if it has not ended yet: what it left behind may hold its output."""
    with _changed, suppress(ProcessLookupError):  # it may be reaped and not yet noted
        if child.pid not in _exits:
            os.killpg(child.pid, signal.SIGKILL)


def forget(child: subprocess.Popen[bytes]) -> None:
    """Let go of a process that has ended and that nobody will ask about: its number may become another's."""
    with _changed:
        if _exits.pop(child.pid, None) is not None:
            del _ours[child.pid]


def in_memory(name: str, content: bytes = b"") -> IO[bytes]:
    """A file that needs no disk, since the disk may be what is full."""
    file = os.fdopen(os.memfd_create(name), "w+b")
    file.write(content)
    file.seek(0)
    return file


def run(
    command: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    stdin: bytes = b"",
    timeout: float = 60.0,
    check: bool = True,
) -> bytes:
    """Run a short command to its end and return its standard output.

    Args:
        command: The program and its arguments.
        cwd: Where it starts.
        env: All of its environment.
        stdin: Its standard input.
        timeout: Seconds that it may take.
        check: Whether it is an error when it fails.

    Raises:
        ExitError: If it fails; the message holds its last words.
        TimeoutError: If it takes longer than `timeout` seconds.
        OSError: If it cannot be run, or something else ended it.
    """
    errors = in_memory("stderr")
    with in_memory("stdin", stdin) if stdin else open(os.devnull, "rb") as given:
        child = spawn(command, cwd=cwd, env=env, stdin=given, stdout=subprocess.PIPE, stderr=errors)
    assert child.stdout is not None
    deadline = time.monotonic() + timeout
    pieces: list[bytes] = []
    with child.stdout:
        descriptor = child.stdout.fileno()
        ended = _read_all(descriptor, pieces, deadline)
        # It may have closed its output and go on.
        late = not ended or wait(child, max(0.0, deadline - time.monotonic())) is None
        if late:
            kill(child)
            ended = ended or _read_all(descriptor, pieces, time.monotonic() + _LAST_WORDS)
    code = wait(child)
    forget(child)
    with errors:
        errors.seek(0)
        words = errors.read(500).decode("utf-8", "replace").strip()
    _require_success(command, code, words, late=late and code == -signal.SIGKILL, check=check)
    if not ended:
        msg = f"{' '.join(command[:3])} left a program behind that holds its output open"
        raise TimeoutError(msg)
    return b"".join(pieces)


def _require_success(command: Sequence[str], code: int | None, words: str, *, late: bool, check: bool) -> None:
    """Raise what `run` raises for the way in which a program ended."""
    if code == 0 or not check:
        return
    if late:
        msg = f"{' '.join(command[:3])} took too long"
        raise TimeoutError(msg)
    msg = f"{' '.join(command[:3])} ended with {code}: {words}"
    raise ExitError(msg) if code is not None and code > 0 else OSError(msg)


def _read_all(descriptor: int, pieces: list[bytes], deadline: float) -> bool:
    """Read on, and say whether the end came in time: somebody who got away may have the other end."""
    ready = select.poll()
    ready.register(descriptor)
    while (left := deadline - time.monotonic()) > 0:
        if ready.poll(left * 1000):
            piece = os.read(descriptor, _CHUNK)
            if not piece:
                return True
            pieces.append(piece)
    return False


def kill_all() -> None:
    """Kill every process in the container but this one; when this returns, none of them does anything any more.

    They may be there for a moment longer: it takes the kernel a while to give back the memory of a big one.
    """
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + _KILL_LIMIT
    while any(map(_acts, _list_processes())) and time.monotonic() < deadline:
        time.sleep(0.001)


def freeze_all(*, tries: int = len(_FREEZE_LIMITS)) -> bool:
    """Stop every process in the container but this one, until `thaw_all`, and say whether all of them stand still.

    Args:
        tries: How often it is tried, each time with more patience.
    """
    for limit in _FREEZE_LIMITS[:tries]:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGSTOP)  # also what is being forked at this moment: the kernel has both get it
        deadline = time.monotonic() + limit
        while not (still := stand_still()) and time.monotonic() < deadline:
            time.sleep(0.001)
        if still:
            return True
        # Who waits for a child to begin its program cannot be stopped, and waits for ever if the child was.
        thaw_all()
        time.sleep(0.01)
    return False


def stand_still() -> bool:
    """Whether no process in the container but this one can do anything at this moment.

    What was stopped can have a clock of its own that has it go on, so it is worth to look again.
    """
    return not any(map(_moves, _list_processes()))


def thaw(child: subprocess.Popen[bytes]) -> None:
    """Let one process go on, if it has not ended.

    Its first thread is told: what a program has to do when it goes on is done then before that thread does anything.
    """
    with _changed:
        if child.pid not in _exits:
            ctypes.CDLL(None).tgkill(child.pid, child.pid, signal.SIGCONT)


def thaw_all() -> None:
    """Let those that were stopped go on."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGCONT)


def _list_processes() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _acts(pid: str) -> bool:
    """Whether a thread of a process may still do something of its own."""
    return any(not int(fields[6]) & _EXITING for fields in _look_at_threads(pid))


def _moves(pid: str) -> bool:
    """Whether a thread of a process is not stopped, and not on its way out either."""
    return any(fields[0] not in _STILL and not int(fields[6]) & _EXITING for fields in _look_at_threads(pid))


def _look_at_threads(pid: str) -> Iterator[list[bytes]]:
    """What the kernel says of each thread of a process, until it is gone: the state, and six fields later the flags."""
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
                yield file.read().rpartition(b")")[2].split()  # behind the name, which may hold anything


def _reap() -> None:
    global _idle  # noqa: PLW0603 - as above
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            with _changed:
                # Checked under the lock: `spawn` holds it from before the fork, so no child can be missed.
                while _reaping and all(known in _exits for known in _ours):
                    _changed.wait()
                if not _reaping:
                    _idle = True
                    _changed.notify_all()
                    return
            continue
        code = os.waitstatus_to_exitcode(status)
        with _changed:
            child = _ours.get(pid)
            if child is not None:
                child.returncode = code
                _exits[pid] = code
            if pid in _watched:
                os.close(_watched.pop(pid))
            _changed.notify_all()
