"""A terminal for a program: it is started on a real one, and what it draws is read from the screen."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import pexpect
import pyte

if TYPE_CHECKING:
    from pathlib import Path

_LIMIT = 60.0


class Screen:
    """One program on a terminal of its own.

    Args:
        command: The program and its arguments.
        cwd: Where it runs.
        columns: The window's width.
        lines: The window's height.
        environment: What it has in its environment beside this process's.
    """

    def __init__(
        self, command: list[str], *, cwd: Path, columns: int = 100, lines: int = 40, environment: dict[str, str]
    ) -> None:
        self._screen = pyte.HistoryScreen(columns, lines, history=2000)
        self._stream = pyte.ByteStream(self._screen)
        env = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "COLUMNS", "LINES"}}
        self._child = pexpect.spawn(
            command[0],
            command[1:],
            cwd=str(cwd),
            env=env | {"TERM": "xterm-256color"} | environment,
            dimensions=(lines, columns),
        )
        self.raw = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close(force=True)

    @property
    def text(self) -> str:
        """What is on the screen, and above it."""
        above = ["".join(line[place].data for place in sorted(line)).rstrip() for line in self._screen.history.top]
        return "\n".join([*above, *(line.rstrip() for line in self._screen.display)])

    @property
    def cursor_hidden(self) -> bool:
        return bool(self._screen.cursor.hidden)

    def read(self) -> bool:
        """Take what the program has written; says whether it may write more."""
        with suppress(pexpect.TIMEOUT):
            try:
                piece = self._child.read_nonblocking(64 * 1024, timeout=0.1)
            except pexpect.EOF:
                return False
            self.raw += piece
            self._stream.feed(piece)
        return True

    def wait_for(self, words: str) -> None:
        """Read until some words are on the screen."""
        self.wait_for_count(re.escape(words), at_least=1)

    def wait_for_count(self, pattern: str, *, at_least: int = 0, exactly: int | None = None) -> None:
        """Read until a pattern is on the screen so many times.

        What is read ends anywhere, also in the middle of what is being drawn: a screen that is looked at once may
        lack a line that was taken away to be drawn again.
        """
        until = time.monotonic() + _LIMIT
        more = True
        while True:
            count = len(re.findall(pattern, self.text, re.MULTILINE))
            if count >= at_least and exactly in {None, count}:
                return
            assert more, f"{pattern!r} is there {count} times at the end:\n{self.text}"
            assert time.monotonic() < until, f"{pattern!r} is there {count} times:\n{self.text}"
            more = self.read()

    def wait(self) -> int:
        """Read to the end, and give the exit code."""
        while self.read():
            pass
        self._child.wait()
        code = self._child.exitstatus
        return code if code is not None else -self._child.signalstatus

    def type(self, keys: str) -> None:
        self._child.send(keys)

    def send(self, number: signal.Signals) -> None:
        self._child.kill(number)

    def hang_up(self) -> None:
        """Close the terminal under the program, and wait for its end."""
        terminal = self._child.ptyproc
        terminal.fileobj.close()
        terminal.closed = True  # or it would send more signals
        self._child.wait()

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        self._child.setwinsize(lines, columns)
