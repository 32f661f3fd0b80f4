"""A run on a terminal: the log scrolls, and below it a status of two lines stays and moves.

::

    [   2.1 s] -> bash: python -m pytest -q
    ⠹ bash: python -m pytest -q
      0:04 of 5:00 · 2 model calls · 8,412 tokens in · 96 out

Everything that comes from a run goes to rich as `Text`, which it never reads for markup.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from langchain_sandbox.activity import Activity
from langchain_sandbox.cli.log import Log
from langchain_sandbox.cli.terminal import is_coloured, is_screen, write_mark

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderResult

    from langchain_sandbox.cli.log import Line
    from langchain_sandbox.cli.terminal import Colour
    from langchain_sandbox.events import SandboxEvent

_STYLES: dict[Colour | None, str] = {
    None: "",
    "red": "red",
    "green": "green",
    "yellow": "yellow",
    "cyan": "cyan",
    "grey": "bright_black",
    "bold": "bold",
}
_REDRAWN = 10  # times a second
_STALE = 1  # column that stays free: a line as wide as the window makes some terminals break it


class LiveProgress:
    """Shows one run on standard error, which is a terminal.

    Args:
        timeout: Seconds that the run may take.
    """

    def __init__(self, timeout: float) -> None:
        self._log = Log()
        self._held: list[Line] = []  # the agent's words; the last ones are the answer, which is printed after the run
        self._completed = False
        self._status = Status(timeout)
        self._console = Console(
            file=sys.stderr,
            force_terminal=True,
            no_color=not is_coloured(sys.stderr),
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._live = Live(
            self._status,
            console=self._console,
            refresh_per_second=_REDRAWN,
            transient=True,
            redirect_stdout=False,  # what is on standard output is for somebody else
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._held += self._log.rest()
        if not (self._completed and is_screen(sys.stdout)):
            self._release()
        self._live.stop()
        self._console.print()  # room before the answer

    def show(self, event: SandboxEvent) -> None:
        """Let the log scroll, and change the status."""
        self._status.activity.update(event)
        self._completed = event.type == "finished" and event.ok
        for line in self._log.take(event):
            self._held.append(line)
            if line.colour is not None:
                self._release()

    def note(self, words: str) -> None:
        """Say in the status what the program itself does now."""
        self._status.note = words

    def _release(self) -> None:
        for line in self._held:
            text = Text.assemble((line.clock, "bright_black"), " ", (line.words, _STYLES[line.colour]))
            said = line.colour is None  # by the agent, to be read whole; the rest is cut where the window ends
            self._console.print(text, no_wrap=not said, overflow="fold" if said else "ellipsis")
        self._held.clear()


class Status:
    """What the agent does now, and what it has used; rich asks for it anew each time that it draws.

    Args:
        timeout: Seconds that the run may take.
    """

    def __init__(self, timeout: float) -> None:
        self.activity = Activity()
        self.note = ""
        self._timeout = timeout
        self._began = time.monotonic()
        self._spinner = Spinner("dots" if write_mark("⠋", "", sys.stderr) else "line", style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(1, options.max_width - _STALE)
        now = Text.assemble(self._spinner.render(console.get_time()), " ", (self.note or self.activity.now, "bold"))  # type: ignore[arg-type]
        used = Text(f"  {fit(self.figures(), width - 2)}", style="bright_black")
        for line in (now, used):
            line.no_wrap = True
            line.truncate(width, overflow="ellipsis")
            yield line

    def figures(self) -> list[str]:
        """What has been used, the most important first."""
        done = self.activity
        figures = [f"{write_clock(time.monotonic() - self._began)} of {write_clock(self._timeout)}"]
        if done.model_calls:
            calls = f"{done.model_calls} model call{'' if done.model_calls == 1 else 's'}"
            figures += [f"{done.prompt_tokens:,} tokens in, {done.completion_tokens:,} out", calls]
        return figures


def fit(figures: list[str], width: int) -> str:
    """As many of them as have room on a line, and the first in any case.

    Args:
        figures: What there is to say, the most important first.
        width: Columns.
    """
    line = figures[0]
    for figure in figures[1:]:
        longer = f"{line} · {figure}"
        if cell_len(longer) > width:
            break
        line = longer
    return line


def write_clock(seconds: float) -> str:
    """Seconds as a clock shows them, such as `1:05` or `1:00:00`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
