"""What a workspace's way in and its changes' way out take, against tar through `docker exec`."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bare import find_docker
from big_repository import FILE_SIZE, NEW, change, make_repository
from pairs import BenchmarkError, Row, Samples, Setup, interleave, judge
from transfer import host_side
from transfer.container import TransferContainer, open_container

from langchain_sandbox.config import Limits
from langchain_sandbox.engine.hardening import WORKSPACE_MOUNT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer.desk import Desk
    from transfer.host_side import Parcel

_GOAL = 1.3
_PLACE = f"{WORKSPACE_MOUNT}/by-hand"
_INDEX = f"{_PLACE}/.git/index"
_INDEX_KEPT = "/tmp/index"
_CHANGED = "git add --all && git diff --cached --name-only -z --diff-filter=d | tar -c --null --files-from=-"


def measure_in(setup: Setup, *, files: int) -> Row:
    """Measure the row `in`."""
    with _open(setup, files) as (container, root):

        def ours() -> float:
            began = time.perf_counter()
            with closing(host_side.pack(root, Limits())) as parcel:
                container.bring_in(parcel)
                took = time.perf_counter() - began
            container.wipe()
            return took

        def by_hand() -> float:
            began = time.perf_counter()
            _send_by_hand(container, root)
            took = time.perf_counter() - began
            _execute(container, f"rm -rf {_PLACE}")
            return took

        samples = interleave(ours, by_hand, runs=setup.runs)
        command = statistics.median(_time(partial(_execute, container, "true")) for _ in range(5))
    return _build_row(
        f"in, {files:,} files",
        *samples,
        what=(
            f"a git repository of {files:,} text files, {files * FILE_SIZE / 2**20:.0f} MiB, with one packed commit, "
            "goes into a running container. Ours reads the work tree and the history on the host, sends both over the "
            "link, and ends when all is in place there: files, git's objects and index, and the note of how each file "
            "looks that changes are told by later; no hook, no configuration comes along. The baseline is `tar -c . | "
            "docker exec -i ... tar -x` of the same folder, its `.git` included, into the same file system; of that, "
            f"`docker exec` takes {command * 1000:.0f} ms when it has nothing to do."
        ),
    )


def measure_out(setup: Setup, *, files: int) -> Row:
    """Measure the row `out`."""
    with _open(setup, files) as (container, root), closing(host_side.pack(root, Limits())) as parcel:
        desk = change(root)
        container.bring_in(parcel)
        container.operate(desk.operations)
        _send_by_hand(container, root)
        # `git status` as somebody would have run it by then: git knows which files it need not read again.
        made = f"cp -R ../repo/package_* ../repo/new . && git status >/dev/null && cp {_INDEX} {_INDEX_KEPT}"
        _execute(container, f"cd {_PLACE} && {made}")
        samples = interleave(
            partial(_take_out, container, parcel, desk),
            partial(_take_out_by_hand, container, desk),
            runs=setup.runs,
        )
    return _build_row(
        f"out, {files:,} files",
        *samples,
        what=(
            f"from the repository of `in, {files:,} files`, in which one file of a hundred has a line more and {NEW} "
            "are new. Ours finds what was changed, sends it, checks every path, and ends with the patch. The baseline "
            f"has `{_CHANGED}` run by `docker exec`, in a repository whose index is fresh, and unpacks that in an "
            "empty folder on the host; it makes no patch and checks nothing."
        ),
    )


def _build_row(name: str, ours: Samples, baseline: Samples, *, what: str) -> Row:
    met = ours.median / baseline.median <= _GOAL
    return Row(name=name, ours=ours, baseline=baseline, unit="s", goal=judge(f"≤ {_GOAL:g} x", met=met), what=what)


@contextmanager
def _open(setup: Setup, files: int) -> Iterator[tuple[TransferContainer, Path]]:
    with tempfile.TemporaryDirectory() as name, open_container(setup.image, Limits()) as container:
        make_repository(Path(name), files)
        yield container, Path(name)


def _take_out(container: TransferContainer, parcel: Parcel, desk: Desk) -> float:
    began = time.perf_counter()
    outcome = container.take_out(parcel)
    took = time.perf_counter() - began
    if set(outcome.paths) != set(desk.tree):
        msg = f"the patch has {len(outcome.paths)} of {len(desk.tree)} changes; left out: {outcome.skipped[:5]}"
        raise BenchmarkError(msg)
    return took


def _take_out_by_hand(container: TransferContainer, desk: Desk) -> float:
    with tempfile.TemporaryDirectory() as name:
        began = time.perf_counter()
        _run(f'"$0" exec "$1" sh -c "cd {_PLACE} && {_CHANGED}" | tar -x -C "$2"', container.name, name)
        took = time.perf_counter() - began
        found = {path.relative_to(name).as_posix() for path in Path(name).rglob("*.py")}
    if found != set(desk.tree):
        msg = f"tar brought {len(found)} of {len(desk.tree)} changes"
        raise BenchmarkError(msg)
    _execute(container, f"cp {_INDEX_KEPT} {_INDEX}")
    return took


def _send_by_hand(container: TransferContainer, root: Path) -> None:
    into = f"mkdir {_PLACE} && tar -x -C {_PLACE}"
    _run(f'tar -c -C "$2" . | "$0" exec -i "$1" sh -c "{into}"', container.name, str(root))


def _execute(container: TransferContainer, command: str) -> None:
    _run('"$0" exec "$1" sh -c "$2"', container.name, command)


def _time(action: partial[None]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _run(command: str, *arguments: str) -> None:
    done = subprocess.run(["/bin/sh", "-c", command, find_docker(), *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        msg = f"{command} ended with {done.returncode}: {done.stderr[-500:].decode('utf-8', 'replace').strip()}"
        raise BenchmarkError(msg)
