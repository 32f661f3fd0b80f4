"""What happens to which run, and when: from a seed, so that a bad one can be had again. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

DEADLINE = 40.0
"""Seconds that each run may take; `GRACE` more until there is a result."""
GRACE = 10.0
_LATEST = 8.0  # seconds; most runs are over by then, also where eight are under way
_LATEST_KILL = 4.0  # seconds; hardly any is


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that can happen to a run.

    Args:
        name: What it is called.
        what: What is done, for people.
        endings: Statuses that a run may have then; of a host that is killed in time nobody is told any.
        apart: Whether the run's host is a process of its own.
    """

    name: str
    what: str
    endings: frozenset[str]
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run, and what happens to it.

    Args:
        number: Which one.
        fault: What happens.
        at: Seconds from its start.
    """

    number: int
    fault: Fault
    at: float


def _fault(name: str, what: str, *endings: str, apart: bool = False) -> Fault:
    return Fault(name=name, what=what, endings=frozenset(endings), apart=apart)


# What is damaged may be the container's stream, or what the engine is asked and answers.
_DAMAGED = ("protocol_error", "engine_error", "completed")
NONE = _fault("none", "nothing", "completed")
HOST_KILLED = _fault("host killed", "`kill -9` of the process that runs it", "completed", apart=True)
# A fault that comes when a run is over changes nothing: so each may end as if there was none.
FAULTS = [
    HOST_KILLED,
    _fault("cancelled", "`handle.cancel()`", "cancelled", "completed"),
    _fault("container killed", "`docker kill`", "crashed", "completed"),
    _fault("container stands still", "`docker pause`, three seconds later `docker unpause`", "completed"),
    _fault("OpenCode killed", "`kill -9` of OpenCode in the container", "crashed", "completed"),
    _fault("OpenCode stands still", "`kill -STOP` of OpenCode, three seconds later `kill -CONT`", "completed"),
    _fault("model breaks off", "the model's second answer is cut in the middle", "model_error"),
    _fault("model refuses", "the model answers its second request with HTTP 500, again and again", "model_error"),
    _fault("engine out of reach", "all connections to the engine are closed", "engine_error", "completed", apart=True),
    _fault("engine slow", "50 ms for each piece that goes to the engine or comes from it", "completed", apart=True),
    _fault("output damaged", "64 bytes of what comes from the engine are others", *_DAMAGED, apart=True),
    _fault("input damaged", "64 bytes of what goes to the engine are others", *_DAMAGED, apart=True),
]


def plan_runs(count: int, *, killed: float, seed: int) -> list[Planned]:
    """Runs to which nothing happens, but for those whose host is killed.

    Args:
        count: How many in all.
        killed: Share of those that are killed.
        seed: What chance begins with.
    """
    chance = random.Random(seed)
    those = set(chance.sample(range(count), round(count * killed)))
    return [
        Planned(
            number=number,
            fault=HOST_KILLED if number in those else NONE,
            at=_choose_moment(chance, latest=_LATEST_KILL),
        )
        for number in range(count)
    ]


def plan_faults(count: int, *, seed: int) -> list[Planned]:
    """Runs to each of which something happens; all faults as often, in an order of chance.

    Args:
        count: How many.
        seed: As above.
    """
    chance = random.Random(seed)
    faults = [FAULTS[number % len(FAULTS)] for number in range(count)]
    chance.shuffle(faults)
    return [Planned(number=number, fault=fault, at=_choose_moment(chance)) for number, fault in enumerate(faults)]


def _choose_moment(chance: random.Random, *, latest: float = _LATEST) -> float:
    return round(chance.uniform(0.0, latest), 2)
