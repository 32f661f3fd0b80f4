"""The ground on which contestants meet, and those of them that can take part here."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from board.contestant import Arena, Contestant, Entrant, NotHereError
from board.watching import find_containers
from coding_task import make_repository
from model_server import open_model
from seed_task import find_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def open_arena(image: str, *, lanes: int = 1) -> Iterator[Arena]:
    """A repository, a place for copies, and a model in a process of its own."""
    with open_model(find_gateway(image)) as endpoint, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chmod(folder, 0o755)  # noqa: PTH101 - a mount below it is somebody else's as well
        make_repository(folder / "repository")
        yield Arena(image=image, endpoint=endpoint, repository=folder / "repository", folder=folder, lanes=lanes)


@dataclass(frozen=True, slots=True)
class Ready:
    """A contestant that takes part.

    Args:
        entrant: What it does.
        containers: Ids of those that it has had so far; they grow.
    """

    entrant: Entrant
    containers: set[str]


@contextmanager
def open_all(arena: Arena, contestants: Sequence[Contestant]) -> Iterator[tuple[dict[str, Ready], dict[str, str]]]:
    """Those that can take part, by their names; and why the others cannot."""
    entered: dict[str, Ready] = {}
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        for contestant in contestants:
            before = set(find_containers())
            try:
                entrant = stack.enter_context(contestant.open(arena))
            except NotHereError as reason:
                missing[contestant.name] = str(reason)
            else:
                entered[contestant.name] = Ready(entrant, set(find_containers()) - before)
        yield entered, missing
