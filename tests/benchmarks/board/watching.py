"""What the machine does meanwhile: its cores' work, and the memory of the engine's containers.

Both are the whole machine's, so they tell something of a contestant only while nobody else works on it.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Self

_STAT = Path("/proc/stat")
_IDLE = (3, 4)  # idle and iowait, counted from the first figure
_GUEST = 8  # from here on the figures are part of others

# Where the engine's containers have their groups: version 1, version 2 by itself and by systemd.
_PARENTS = [
    Path("/sys/fs/cgroup/memory/docker"),
    Path("/sys/fs/cgroup/docker"),
    Path("/sys/fs/cgroup/system.slice"),
]
_CONTAINER = re.compile(r"(?:docker-)?([0-9a-f]{64})(?:\.scope)?")
_NOW = ("memory.usage_in_bytes", "memory.current")
_MOST = ("memory.max_usage_in_bytes", "memory.peak")
_EVERY = 0.1
_MIB = 1024 * 1024


def read_work() -> float | None:
    """Seconds that the machine's cores have worked since it is up, all together; None where nobody counts."""
    try:
        line = _STAT.read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return None
    return parse_work(line) / os.sysconf("SC_CLK_TCK")


def parse_work(line: str) -> int:
    """Ticks of all kinds of work in the first line of `/proc/stat`."""
    ticks = [int(word) for word in line.split()[1 : 1 + _GUEST]]
    return sum(count for index, count in enumerate(ticks) if index not in _IDLE)


def find_containers() -> dict[str, Path]:
    """The groups of the containers that run now, by the containers' ids."""
    found: dict[str, Path] = {}
    for parent in _PARENTS:
        try:
            names = [group.name for group in parent.iterdir()]
        except OSError:
            continue
        found |= {match[1]: parent / name for name in names if (match := _CONTAINER.fullmatch(name))}
    return found


class MemoryWatch:
    """Watches containers' memory in a block. What a container's files in memory take is part of it.

    Args:
        also: Ids of containers that are looked at although they were there before.
    """

    def __init__(self, also: set[str] | None = None) -> None:
        self._others = set(find_containers()) - (also or set())
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-watch", daemon=True)
        self._largest = 0
        self._together = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._look()

    @property
    def largest(self) -> int | None:
        """MiB that the largest container had at its peak; None where that cannot be read."""
        return round(self._largest / _MIB) or None

    @property
    def together(self) -> int | None:
        """MiB that all of them had at one moment, at most."""
        return round(self._together / _MIB) or None

    def _watch(self) -> None:
        while not self._end.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        together = 0
        for name, group in find_containers().items():
            if name not in self._others:
                together += _read(group, _NOW)
                self._largest = max(self._largest, _read(group, _MOST))
        self._together = max(self._together, together)


def _read(group: Path, names: tuple[str, ...]) -> int:
    for name in names:
        try:
            return int((group / name).read_text(encoding="ascii"))
        except OSError:
            continue  # the other version's, or the container is gone
    return 0
