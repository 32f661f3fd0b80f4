"""What takes part in the leaderboard: a way to have the task done, or to get a container for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from langchain_sandbox.config import ModelEndpoint


class NotHereError(Exception):
    """A contestant cannot take part on this machine; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """What all contestants are given.

    Args:
        image: Id of the sandbox image.
        endpoint: The scripted model, where containers on a bridge reach it too.
        repository: What the task is about. Nobody changes it.
        folder: Where a contestant may put copies.
        lanes: How many tasks there will be at once, at most.
    """

    image: str
    endpoint: ModelEndpoint
    repository: Path
    folder: Path
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """One task that was done.

    Args:
        seconds: What it took, preparations not counted.
        from_spare: Whether a spare of the pool was used; None where there is no pool.
    """

    seconds: float
    from_spare: bool | None = None


def _rest() -> None:
    """Nothing is to be done."""


def _stay(_: int) -> None:
    """Nothing is to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A contestant that is ready. Tasks in different lanes may be done at the same time.

    Args:
        attempt: Does the task once in a lane, and raises `BenchmarkError` if it was not done.
        prepare: Makes a lane ready for its next attempt; no clock runs.
        settle: Waits until it is as ready as before the attempt; what that costs counts as work, not as time.
    """

    attempt: Callable[[int], Attempt]
    prepare: Callable[[int], None] = _stay
    settle: Callable[[], None] = _rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A row of the leaderboard.

    Args:
        name: As the table names it.
        part: Whether the whole task is done, or there is only a container at the end.
        what: What is measured, exactly; a sentence or two.
        open: Makes it ready, for the length of a block. Raises `NotHereError` where that cannot be.
    """

    name: str
    part: Literal["container", "task"]
    what: str
    open: Callable[[Arena], AbstractContextManager[Entrant]]
