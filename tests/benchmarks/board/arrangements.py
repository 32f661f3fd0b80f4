"""Contestants that do the whole task in a container of their own, without this package."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bare import PREFIX
from board.contestant import Arena, Attempt, Contestant, Entrant
from cold_task import run_bare
from seed_task import open_seed, run_seed

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _open_seed(arena: Arena) -> Iterator[Entrant]:
    with open_seed(arena.image, arena.endpoint, arena.folder / f"{PREFIX}{secrets.token_hex(6)}") as seed:
        yield Entrant(attempt=lambda _: Attempt(run_seed(seed, arena.repository)))


@contextmanager
def _open_bare(arena: Arena) -> Iterator[Entrant]:
    copy = arena.folder / f"{PREFIX}{secrets.token_hex(6)}"
    yield Entrant(attempt=lambda _: Attempt(run_bare(arena.image, arena.repository, copy, arena.endpoint)))


SEED = Contestant(
    name="seed",
    part="task",
    what="`docker compose run` of the arrangement that this project grew out of; all as in the row `seed` above.",
    open=_open_seed,
)
OPENCODE_RUN = Contestant(
    name="opencode run",
    part="task",
    what="`opencode run` in a container made for it, not hardened; all as the baseline of the row `cold task` above.",
    open=_open_bare,
)
