"""What a benchmark has left on the engine; it should be nothing."""

from __future__ import annotations

import subprocess
import time

from bare import PREFIX, find_docker

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.owner import current_owner

_PATIENCE = 10.0
_POLL = 0.5


class Inventory:
    """What has our label or name on the engine, before a benchmark: what another process left is not its own."""

    def __init__(self) -> None:
        self._before = _list_all()

    def count_new(self) -> dict[str, int]:
        """How much has come since. The engine is given a moment to remove the last ones."""
        deadline = time.monotonic() + _PATIENCE
        while any((new := self._count()).values()) and time.monotonic() < deadline:
            time.sleep(_POLL)
        return new

    def _count(self) -> dict[str, int]:
        return {what: len(ids - self._before[what]) for what, ids in _list_all().items()}


def _list_all() -> dict[str, set[str]]:
    mine, named = f"label={labels.OWNER}={current_owner()}", f"name={PREFIX}"
    return {
        "containers": _list("container", "--all", mine) | _list("container", "--all", named),
        "networks": _list("network", named),
        "volumes": _list("volume", named),
    }


def _list(what: str, *words: str) -> set[str]:
    *options, condition = words
    command = [find_docker(), what, "ls", "--quiet", *options, f"--filter={condition}"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
