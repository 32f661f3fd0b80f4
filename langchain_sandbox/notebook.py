"""Runs in notebooks: a live card while one lasts, which becomes its result's card.

`%load_ext langchain_sandbox.notebook` has it so for every `sandbox.run(...)` and `await sandbox.arun(...)` of the
kernel; `watch` and `awatch` have it so for one run. Runs of tools, graphs and batches are shown by whoever watches
those.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections import deque
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self

from langchain_sandbox.activity import Activity, describe_event
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.html.live import build_live_card, build_note_card, tell_figures
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.watching import set_watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_sandbox.events import SandboxEvent
    from langchain_sandbox.handle import RunHandle

logger = logging.getLogger(__name__)

_PERIOD = 0.25  # seconds between two pictures
_LINES = 5
_WORDS = 300  # characters of a text that is being written


def watch(handle: RunHandle) -> SandboxResult:
    """Show a run in the notebook and wait for its result. To interrupt the kernel cancels the run.

    Args:
        handle: The run; its events are read here.

    Raises:
        SandboxConfigError: If this is no notebook (the run is cancelled), or what was asked for cannot work.
        SandboxUnavailableError: If the engine or the image is not there.

    Example:
        ```python
        result = watch(sandbox.start("Fix the failing test."))
        ```
    """
    with _Card(handle) as card, handle:
        # Pictures are drawn in the thread of the cell: that is how Jupyter knows which cell they belong to.
        # The sandbox's on_event is called there as well, and finds the cell's context.
        reader = threading.Thread(target=copy_context().run, args=(card.follow, handle.events()), daemon=True)
        reader.start()
        while reader.is_alive():
            card.draw()
            reader.join(_PERIOD)
        return card.keep(handle.result())


async def awatch(handle: RunHandle) -> SandboxResult:
    """As `watch`, without blocking the event loop. Several at once have a card each."""
    with _Card(handle) as card:
        async with handle:
            reader = asyncio.ensure_future(card.afollow(handle.aevents()))
            try:
                while not reader.done():
                    card.draw()
                    await asyncio.wait({reader}, timeout=_PERIOD)
                return card.keep(await handle.aresult())
            finally:
                reader.cancel()


def load_ipython_extension(shell: Any) -> None:  # noqa: ANN401 - IPython's shell
    """Show every run that a cell waits for; called by `%load_ext langchain_sandbox.notebook`.

    Args:
        shell: The kernel's.

    Raises:
        SandboxConfigError: If the shell is not a notebook's.
    """
    _check_shell(shell)
    set_watcher(_Watcher())


def unload_ipython_extension(shell: Any) -> None:  # noqa: ANN401, ARG001 - IPython calls it so
    """Show them no more; called by `%unload_ext langchain_sandbox.notebook`."""
    set_watcher(None)


class _Watcher:
    def watch(self, handle: RunHandle) -> SandboxResult:
        return watch(handle)

    async def awatch(self, handle: RunHandle) -> SandboxResult:
        return await awatch(handle)


class _Card:
    """One card in the output of the cell that runs. As a context manager, it shows at the end how it ended."""

    def __init__(self, handle: RunHandle) -> None:
        self._shell = _find_shell(handle)
        self._handle = handle
        self._began = time.monotonic()
        self._lock = threading.Lock()  # events are read in another thread than pictures are drawn in
        self._activity = Activity()
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._words = ""
        self._shown = ""
        self._display: Any = None
        self._cell = self._shell.execution_count
        self._broken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if self._handle.done:
            with suppress(Exception):  # a run that could not be tried has none
                self.keep(self._handle.result())
                return
        interrupted = not isinstance(error, Exception)
        status, message = ("interrupted", "The run is being cancelled.") if interrupted else ("not run", str(error))
        with self._harmless():
            self._show(build_note_card(status, message), f"{status}: {message}")

    def follow(self, events: Iterator[SandboxEvent]) -> None:
        for event in events:
            with self._harmless():
                self._take(event)

    async def afollow(self, events: AsyncIterator[SandboxEvent]) -> None:
        async for event in events:
            with self._harmless():
                self._take(event)

    def draw(self) -> None:
        """Show what has come since the last time, if anything has."""
        with self._harmless():
            with self._lock:
                seconds, lines = time.monotonic() - self._began, [*self._lines]
                html = build_live_card(self._activity, run_id=self._handle.run_id, seconds=seconds, lines=lines)
                text = f"{self._activity.now}: {tell_figures(self._activity, seconds)}"
            if html != self._shown:
                self._show(html, text)

    def keep(self, result: SandboxResult) -> SandboxResult:
        """Show the result, and leave it at that."""
        with self._harmless():
            self._show(result._repr_html_(), f"{result.status}: {result.ending.message}")
            _remember(self._shell, self._cell, result)
        return result

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """What cannot be shown must not cost the run that it is of: it goes on unseen."""
        try:
            yield
        except Exception:
            if not self._broken:
                logger.warning("run %s goes on, but cannot be shown", self._handle.run_id, exc_info=True)
            self._broken = True

    def _take(self, event: SandboxEvent) -> None:
        with self._lock:
            self._activity.update(event)
            if event.type != "text":
                line, self._words = describe_event(event), ""
                if line:
                    self._lines.append(line)
                return
            if self._words:
                self._lines.pop()
            self._words = f"{self._words}{event.text}"[-_WORDS:]
            self._lines.append(self._words)

    def _show(self, html: str, text: str) -> None:
        self._shown = html
        bundle = {"text/html": html, "text/plain": text}
        if self._display is None:
            self._display = _display_new(bundle)
        else:
            self._display.update(bundle, raw=True)


def _find_shell(handle: RunHandle) -> Any:  # noqa: ANN401 - IPython's shell
    try:
        from IPython.core.getipython import get_ipython  # noqa: PLC0415 - only notebooks have it
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    try:
        _check_shell(shell)
    except SandboxConfigError:
        handle.cancel()  # nobody else has it
        raise
    return shell


def _check_shell(shell: Any) -> None:  # noqa: ANN401 - IPython's shell
    if getattr(shell, "kernel", None) is None:
        msg = (
            "Live cards need a Jupyter notebook. Elsewhere, handle.events() says what happens, and so does "
            "`langchain-sandbox run` in a terminal."
        )
        raise SandboxConfigError(msg)


def _display_new(bundle: dict[str, str]) -> Any:  # noqa: ANN401 - IPython's DisplayHandle
    from IPython.display import display  # noqa: PLC0415 - only notebooks have it

    return display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]


_shown: list[tuple[int, weakref.ref[SandboxResult]]] = []
"""Results, and the number of the cell that shows each already. Whether they are kept is for the user's names to say."""


def _remember(shell: Any, cell: int, result: SandboxResult) -> None:  # noqa: ANN401 - IPython's shell
    """Have a cell that ends with a result whose card is there already not show it once more."""
    _shown[:] = [each for each in _shown if each[0] >= shell.execution_count and each[1]() is not None]
    _shown.append((cell, weakref.ref(result)))

    def show_once(value: SandboxResult) -> None:
        if not any(cell == shell.execution_count and result() is value for cell, result in _shown):
            raise NotImplementedError  # as usual, says IPython

    shell.display_formatter.ipython_display_formatter.for_type(SandboxResult, show_once)
