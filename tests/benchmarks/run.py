"""Measure the package against what one would do by hand, and print a Markdown table: `make bench`.

    python tests/benchmarks/run.py [--runs N] [--only NAME] [--write docs/benchmarks.md]

Every time is told as a ratio from one interleaved run, ours and the baseline in turns, so that a busy machine slows
both; memory is told as it is.
It needs a container engine on this machine, the docker command, Compose and the sandbox image; no model.
"""

from __future__ import annotations

import argparse
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1]))  # what tests and benchmarks share

import anyio
import big_transfer
import cold_task
import compose_task
import gateway
import memory
import seed_task
import startup
from machine import describe_machine
from pairs import BenchmarkError, Setup
from table import render_memory, render_page, render_table

from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.engine.docker import DockerEngine
from langchain_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory import Growth
    from pairs import Row

BENCHMARKS = {
    "start": startup.measure,
    "gateway": gateway.measure,
    "in-1k": partial(big_transfer.measure_in, files=1000),
    "out-1k": partial(big_transfer.measure_out, files=1000),
    "in-20k": partial(big_transfer.measure_in, files=20_000),
    "out-20k": partial(big_transfer.measure_out, files=20_000),
    "cold-task": cold_task.measure,
    "seed": seed_task.measure,
    "compose": compose_task.measure,
}
MEMORY = "memory"  # no pairs: it is measured once


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; the exit code is 0 if all could be measured, whatever the figures say."""
    options = _parse(arguments)
    # By default SIGTERM skips every cleanup; as an exception it takes containers and folders away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chosen = options.only or [*BENCHMARKS, MEMORY]
    try:
        image = anyio.run(_find_image)
        machine = describe_machine()
        setup = Setup(image=image, runs=options.runs)
        rows = [_measure(name, setup) for name in BENCHMARKS if name in chosen]
        growths = _measure_memory(setup) if MEMORY in chosen else []
    except (SandboxError, BenchmarkError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    sys.stdout.write("\n".join(filter(None, (render_table(rows), render_memory(growths)))))
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(render_page(rows, growths, machine), encoding="utf-8")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/benchmarks/run.py", description="Measure the package.")
    parser.add_argument("--runs", type=_positive, default=20, metavar="N", help="pairs that count (default: 20)")
    names = [*BENCHMARKS, MEMORY]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of: {', '.join(names)}")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there, such as docs/benchmarks.md")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 2:
        msg = "at least 2, or there is no spread to tell"
        raise argparse.ArgumentTypeError(msg)
    return number


async def _find_image() -> str:
    return await DockerEngine(find_engine()).require_image(None)


def _measure(name: str, setup: Setup) -> Row:
    sys.stderr.write(f"{name}: measuring\n")
    row = BENCHMARKS[name](setup)
    sys.stderr.write(f"{name}: {row.ours.median:.4f} s against {row.baseline.median:.4f} s\n")
    return row


def _measure_memory(setup: Setup) -> list[Growth]:
    sys.stderr.write(f"{MEMORY}: measuring\n")
    growths = memory.measure(setup)
    for growth in growths:
        sys.stderr.write(f"{MEMORY}: {growth.name} {growth.size} MiB, grown by {growth.grown} MiB\n")
    return growths


if __name__ == "__main__":
    sys.exit(main())
