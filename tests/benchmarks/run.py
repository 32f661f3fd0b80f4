"""Measure the package against what one would do without it, and print Markdown: `make bench`.

    python tests/benchmarks/run.py [--runs N] [--only NAME] [--write]
    python tests/benchmarks/run.py --sustained [--tasks 200] [--every 10] [--write]
    python tests/benchmarks/run.py --throughput [--write]

Every time is told as a ratio from one interleaved run, all sides in turns, so that a busy machine slows all of them;
memory is told as it is.
It needs a container engine on this machine, the docker command, Compose and the sandbox image; no model.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1]))  # what tests and benchmarks share

import anyio
import parts
from board import sustained
from book import merge, read_book, write_book
from machine import describe_machine
from page import render_page, write_pages
from pairs import BenchmarkError, Setup

from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.engine.docker import DockerEngine
from langchain_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).parents[2] / "docs"
BOOK = "benchmarks.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; the exit code is 0 if all could be measured, whatever the figures say."""
    options = _parse(arguments)
    # By default SIGTERM skips every cleanup; as an exception it takes containers and folders away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        setup = Setup(image=anyio.run(_find_image), runs=options.runs)
        machine = describe_machine()
        measured = parts.measure(options.only or parts.USUAL, setup, tasks=options.tasks, every=options.every)
    except (SandboxError, BenchmarkError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    sys.stdout.write(render_page({"machine": machine, "parts": measured}))
    if options.write:
        docs: Path = options.write
        book = merge(read_book(docs / BOOK), machine, measured)
        write_book(docs / BOOK, book)
        write_pages(book, docs)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/benchmarks/run.py",
        description=(
            "Measure the package. Without a choice: the pairs, the memory, the leaderboard and the bursts, in about "
            "ten minutes."
        ),
    )
    parser.add_argument("--runs", type=_positive, default=6, metavar="N", help="turns that count (default: 6)")
    parser.add_argument(
        "--only", action="append", choices=parts.ALL, metavar="NAME", help=f"one of: {', '.join(parts.ALL)}"
    )
    parser.add_argument(
        f"--{parts.SUSTAINED}",
        action="append_const",
        dest="only",
        const=parts.SUSTAINED,
        help="a pool over a long time: more than half an hour",
    )
    parser.add_argument(
        f"--{parts.THROUGHPUT}",
        action="append_const",
        dest="only",
        const=parts.THROUGHPUT,
        help="tasks a minute against the number of tasks at once: some minutes",
    )
    parser.add_argument(
        "--tasks",
        type=_positive,
        default=sustained.TASKS,
        metavar="N",
        help=f"how many tasks --{parts.SUSTAINED} gives the pool (default: {sustained.TASKS})",
    )
    parser.add_argument(
        "--every",
        type=float,
        default=sustained.EVERY,
        metavar="SECONDS",
        help=f"time between two of those (default: {sustained.EVERY:g})",
    )
    parser.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=DOCS,
        metavar="FOLDER",
        help=f"put what was measured in the place of what was there in FOLDER/{BOOK}, and write pages and pictures "
        "from it (default: docs/)",
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 2:
        msg = "at least 2, or there is no spread to tell"
        raise argparse.ArgumentTypeError(msg)
    return number


async def _find_image() -> str:
    return await DockerEngine(find_engine()).require_image(None)


if __name__ == "__main__":
    sys.exit(main())
