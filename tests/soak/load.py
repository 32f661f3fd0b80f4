"""Many runs at once: how long they take, and how much of the machine they hold meanwhile."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_sandbox import Sandbox
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    import docker


_SIZE = 4 << 20  # bytes


def measure_load(*, runs: int) -> dict[str, Any]:
    """Have so many tasks begun at once, each of one step on a workspace of some size, and tell what came of it.

    Args:
        runs: How many.
    """
    with tempfile.TemporaryDirectory(prefix="langchain-sandbox-load-") as folder:
        Path(folder, "big.bin").write_bytes(os.urandom(_SIZE))
        return _measure(runs, Path(folder))


def _measure(runs: int, workspace: Path) -> dict[str, Any]:
    before = _read_memory()
    seen: list[tuple[int, int, int]] = []
    order: list[int] = []
    ended: list[float] = []
    statuses: dict[str, int] = {}

    with closing(find_engine().connect()) as client:

        def answer(_messages: list[dict[str, Any]]) -> Any:
            seen.append((_count_containers(client), _read_memory() - before, threading.active_count()))
            return {"text": "Done."}

        async def work(sandbox: Sandbox) -> None:
            async with aclosing(sandbox.abatch_as_completed(["Nothing."] * runs)) as results:
                async for place, result in results:
                    statuses[result.status] = statuses.get(result.status, 0) + 1
                    order.append(place)
                    ended.append(time.monotonic() - began)

        with ScriptedModel(answer) as model:
            began = time.monotonic()
            asyncio.run(work(Sandbox(model=model.endpoint, workspace=workspace)))
        left = _count_containers(client)
    containers, memory, threads = (max(each) for each in zip(*seen, strict=True))
    return {
        "runs": runs,
        "statuses": statuses,
        "seconds": round(ended[-1], 1),
        "first": round(ended[0], 1),
        "tenth": round(ended[9], 1),
        "displaced": max(abs(position - place) for position, place in enumerate(order)),
        "containers": containers,
        "memory": memory,
        "threads": threads,
        "left": left,
    }


def _read_memory() -> int:
    """MiB that this process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def _count_containers(client: docker.DockerClient) -> int:
    return len(client.api.containers(all=True, filters={"label": f"{labels.OWNER}={current_owner()}"}))
