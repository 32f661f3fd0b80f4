"""Somebody who looks now and then, while everything is to stand still, whether it does.

What an agent has left behind was stopped, and can have a clock of its own that has it go on: between two tasks nobody
would notice, and it would have all the time in the world.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

from langchain_sandbox.agent import children

if TYPE_CHECKING:
    from collections.abc import Callable

_EXIT_RESTLESS = 70
_PAUSE = 3.0


def _end() -> NoReturn:
    print("agent: something went on running between two tasks", file=sys.stderr, flush=True)
    os._exit(_EXIT_RESTLESS)


class Vigil:
    """Kept from `begin` to `end`; its thread is there from the start, while threads can be had.

    Args:
        on_unrest: Called when something runs; what is here ends the container.
        pause: Seconds between two looks.
    """

    def __init__(self, *, on_unrest: Callable[[], None] = _end, pause: float = _PAUSE) -> None:
        self._on_unrest = on_unrest
        self._pause = pause
        self._turn = threading.Lock()
        self._kept = threading.Event()
        threading.Thread(target=self._look_now_and_then, name="vigil", daemon=True).start()

    def begin(self) -> None:
        """From now on nothing may run."""
        self._kept.set()

    def end(self) -> None:
        """From now on anything may run; when this returns, no look is under way."""
        with self._turn:
            self._kept.clear()

    def _look_now_and_then(self) -> None:
        while True:
            self._kept.wait()
            time.sleep(self._pause)
            with self._turn:
                if self._kept.is_set() and not children.stand_still():
                    self._on_unrest()
