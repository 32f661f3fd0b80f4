"""How much memory the host needs while a file passes that is far bigger than what it should ever hold of it.

Measured in a process of its own, which this file is the program of too.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1]))

from pairs import BenchmarkError, Setup, judge
from transfer import host_side
from transfer.container import TransferContainer, open_container

from langchain_sandbox.config import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN = 200
_OUT = 150
_GOAL = 32
_FILE = "model.bin"
_MIB = 1024 * 1024
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What a big file's way cost in memory. All figures are MiB.

    Args:
        name: As the table names it.
        size: The file's.
        before: The process, with a small workspace's whole way behind it.
        grown: How much more it was at its peak.
        child: The largest process that it started, at most: a child's figure begins with its parent's size.
        goal: What we want, and whether it is so.
    """

    name: str
    size: int
    before: int
    grown: int
    child: int
    goal: str


def measure(setup: Setup) -> list[Growth]:
    """Measure the section `memory`.

    Raises:
        BenchmarkError: If the process fails, or this is not Linux, which tells a process's own peak.
    """
    if not _STATUS.exists():
        msg = f"The memory can only be measured where there is a {_STATUS}."
        raise BenchmarkError(msg)
    # The folder is ours: a process that is killed would leave it behind.
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, setup.image, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"the process that was to be measured ended with {done.returncode}: {done.stderr[-2000:]}"
        raise BenchmarkError(msg)
    return [
        Growth(**figures, goal=judge(f"≤ {_GOAL} MiB", met=figures["grown"] <= _GOAL))
        for figures in map(json.loads, done.stdout.splitlines())
    ]


def _main(image: str, folder: Path) -> None:
    limits = Limits()
    with open_container(image, limits) as container:
        small, big = folder / "small", folder / "big"
        for root, size in ((small, 1), (big, _IN)):
            root.mkdir()
            with (root / _FILE).open("wb") as file:
                file.writelines(os.urandom(_MIB) for _ in range(size))
        parcel = _bring_in(container, small, limits)
        _take_out(container, parcel, 1)
        container.wipe()
        with _told("in", _IN):
            parcel = _bring_in(container, big, limits)
        with _told("out", _OUT):
            _take_out(container, parcel, _OUT)


def _bring_in(container: TransferContainer, root: Path, limits: Limits) -> host_side.Parcel:
    parcel = host_side.pack(root, limits)
    container.bring_in(parcel)
    return parcel


def _take_out(container: TransferContainer, parcel: host_side.Parcel, size: int) -> None:
    container.operate([{"do": "fill", "path": _FILE, "size": size * _MIB}])
    outcome = container.take_out(parcel)
    parcel.close()
    if outcome.paths != [_FILE]:
        msg = f"the changed file did not come out: {outcome.skipped}"
        raise BenchmarkError(msg)


@contextmanager
def _told(name: str, size: int) -> Iterator[None]:
    """Print by how much the process grows in a block."""
    # Not `ru_maxrss`: it never goes down, and begins with the size that the parent had when it started this process.
    _CLEAR.write_text("5", encoding="ascii")
    before = _peak()
    yield
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(json.dumps({"name": name, "size": size, "before": before, "grown": _peak() - before, "child": child}))


def _peak() -> int:
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
