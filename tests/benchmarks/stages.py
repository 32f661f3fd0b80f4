"""Where a run's time goes around the model: stage by stage, with the processes that each one starts.

    python tests/benchmarks/stages.py [--rounds N] [--against CHECKOUT] [--container]

Every round is a process of its own, so that what the package remembers begins anew; within one, the stages are passed
twice on the same repository: `first`, and `again`. With another checkout of the package the rounds of both are taken
in turns, and told as a ratio. With `--container` each round is one whole run, and tells its moments.

Without it neither engine nor image is needed: the program inside works in a folder of this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).resolve()
_EDITED = "package_2/module_07.py"
_WINDOW = 60_000
_Stages = dict[str, dict[str, float]]


def main() -> int:
    """Measure and print, or be one round."""
    options = _parse()
    if options.round:
        print(json.dumps(_run(Path(options.round)) if options.container else _pass_twice(Path(options.round))))
        return 0
    from coding_task import make_repository  # noqa: PLC0415 - a round needs the package that it was given

    sides = {"here": _HERE.parents[2]} | ({"there": Path(options.against).resolve()} if options.against else {})
    told: dict[str, list[_Stages]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "repository")
        make_repository(repository)
        for _ in range(options.rounds + 1):
            for name, checkout in sides.items():
                told[name].append(_take_round(checkout, repository, container=options.container))
    print(_render({name: rounds[1:] for name, rounds in told.items()}))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the stages of a run.")
    parser.add_argument("--rounds", type=int, default=10, help="rounds that count, for each side (%(default)s)")
    parser.add_argument("--against", metavar="CHECKOUT", help="another checkout of this package")
    parser.add_argument("--container", action="store_true", help="whole runs, in containers")
    parser.add_argument("--round", metavar="REPOSITORY", help=argparse.SUPPRESS)
    return parser.parse_args()


def _take_round(checkout: Path, repository: Path, *, container: bool) -> _Stages:
    command = [sys.executable, str(_HERE), "--round", str(repository), *(["--container"] if container else [])]
    with tempfile.TemporaryDirectory() as place:
        inside = {"SANDBOX_REPOSITORY": f"{place}/inside/repo", "TMPDIR": place}
        environment = os.environ | {"PYTHONPATH": str(checkout)} | ({} if container else inside)
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    stages: _Stages = json.loads(done.stdout)
    return stages


def _render(told: dict[str, list[_Stages]]) -> str:
    """A Markdown table: medians, and the ratio of the first side's to the second's."""
    names = list(told)
    columns = [f"{name}, {what}" for name in names for what in ("ms", "processes")]
    columns += ["ratio of ms"] if len(names) > 1 else []
    lines = [f"| stage | {' | '.join(columns)} |", f"| --- {'| --- ' * len(columns)}|"]
    for stage in told[names[0]][0]:
        medians = [statistics.median(stages[stage]["ms"] for stages in told[name]) for name in names]
        counts = [round(statistics.median(stages[stage]["processes"] for stages in told[name])) for name in names]
        cells = [cell for ms, count in zip(medians, counts, strict=True) for cell in (f"{ms:.1f}", str(count))]
        cells += [f"{medians[0] / medians[1]:.2f}"] if len(names) > 1 else []
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


class _Clock:
    """Times stages and counts the processes that are started meanwhile."""

    def __init__(self) -> None:
        self.stages: _Stages = {}
        self._started = 0
        clock = self

        class Counted(subprocess.Popen):  # type: ignore[type-arg]
            def __init__(self, *arguments: Any, **options: Any) -> None:
                clock._started += 1
                super().__init__(*arguments, **options)

        subprocess.Popen = Counted  # type: ignore[misc]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started, began = self._started, time.perf_counter()
        yield
        took = (time.perf_counter() - began) * 1000
        self.stages[name] = {"ms": took, "processes": self._started - started}


class _Wire:
    """Keeps what the program inside says."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def send_message(self, body: dict[str, Any], *, channel: Any = None, stream: int = 0) -> None:  # noqa: ARG002
        self.said.append(body)

    def send_data(self, payload: bytes, *, channel: Any, stream: int) -> None:  # noqa: ARG002
        self.said.append(payload)

    def send_end(self, *, channel: Any, stream: int) -> None:
        pass

    def acknowledge(self, data: Any) -> None:
        pass


def _pass_twice(repository: Path) -> _Stages:
    clock = _Clock()
    for which in ("first", "again"):
        _pass(clock, repository, which, inside=Path(os.environ["SANDBOX_REPOSITORY"]))
    return clock.stages


def _pass(clock: _Clock, repository: Path, which: str, *, inside: Path) -> None:
    """The host's way in, and the way back out."""
    from langchain_sandbox.config import Limits  # noqa: PLC0415 - of the checkout under test, here and below
    from langchain_sandbox.workspace.inbound.intake import take_intake  # noqa: PLC0415
    from langchain_sandbox.workspace.outbound.changes import Change  # noqa: PLC0415
    from langchain_sandbox.workspace.outbound.patch import build_patch  # noqa: PLC0415
    from langchain_sandbox.workspace_config import Workspace  # noqa: PLC0415

    with clock.stage(f"host: intake, {which}"):
        intake = take_intake(Workspace(repository), Limits())
    try:
        pid = os.fork()  # the program inside reaps every child of its process
        if not pid:
            _be_inside(intake, clock, which)
        os.waitpid(pid, 0)
        clock.stages |= json.loads(inside.with_name("stages.json").read_text(encoding="ascii"))
        content = (repository / _EDITED).read_bytes().replace(b"return 7", b"return 42")
        change = Change(_EDITED, mode=0o100644, content=content)
        with clock.stage(f"host: patch, {which}"):
            build_patch(intake.snapshot, [change]).close()
    finally:
        intake.close()


def _be_inside(intake: Any, clock: _Clock, which: str) -> None:
    """What the program in the container does with it; ends the process."""
    import shutil  # noqa: PLC0415

    from langchain_sandbox.agent import children  # noqa: PLC0415
    from langchain_sandbox.agent.arrival import Arrival  # noqa: PLC0415
    from langchain_sandbox.agent.departure import Departure  # noqa: PLC0415
    from langchain_sandbox.agent.opencode import REPOSITORY  # noqa: PLC0415
    from langchain_sandbox.link import Channel, Data, End, FileStream  # noqa: PLC0415

    code = 1
    try:
        children.start_reaper()
        shutil.rmtree(REPOSITORY, ignore_errors=True)
        clock.stages.clear()
        wire: Any = _Wire()
        with clock.stage(f"inside: arrival, {which}"):
            arrival = Arrival(wire)
            arrival.start({"git": intake.history.describe()})
            intake.snapshot.archive.seek(0)
            streams = [(FileStream.TAR, intake.snapshot.archive.read())]
            for stream, ending in ((FileStream.PACK, "pack"), (FileStream.PACK_INDEX, "idx")):
                streams.append((stream, (intake.history.folder / f"{intake.history.pack}.{ending}").read_bytes()))
            for stream, content in streams:
                for at in range(0, len(content), _WINDOW):
                    arrival.on_event(Data(Channel.FILES, stream, content[at : at + _WINDOW]))
                arrival.on_event(End(Channel.FILES, stream))
            arrival.wait()
        edited = Path(REPOSITORY, _EDITED)
        edited.write_bytes(edited.read_bytes().replace(b"return 7", b"return 42"))
        with clock.stage(f"inside: departure, {which}"):
            Departure(wire, arrival, limit=1_000_000).finish()
        Path(REPOSITORY).with_name("stages.json").write_text(json.dumps(clock.stages), encoding="ascii")
        code = 0
    finally:
        os._exit(code)


def _run(repository: Path) -> _Stages:
    """One whole run: each moment counts from the one before."""
    sys.path.append(str(_HERE.parents[1]))
    from coding_task import answer  # noqa: PLC0415
    from cold_task import open_sandbox, run_ours  # noqa: PLC0415

    from langchain_sandbox.testing import ScriptedModel  # noqa: PLC0415

    timings: list[Any] = []
    with ScriptedModel(answer) as model:
        run_ours(open_sandbox(model.endpoint, repository), timings)
    moments = {name: at for name, at in timings[0].model_dump().items() if isinstance(at, float)}
    return {name: {"ms": at * 1000, "processes": 0} for name, at in sorted(moments.items(), key=lambda item: item[1])}


if __name__ == "__main__":
    sys.exit(main())
