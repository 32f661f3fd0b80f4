"""A host process with many tasks that is asked to end: it prints `begun`, and each result in one line."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from langchain_sandbox import Sandbox, drain_on_sigterm

if TYPE_CHECKING:
    from langchain_sandbox import SandboxEvent, SandboxResult


def tell(event: SandboxEvent) -> None:
    if event.type == "tool_started" and "sleep" in event.input.get("command", ""):
        print("begun", flush=True)


def show(place: int, result: SandboxResult) -> None:
    print(json.dumps([place, result.ending.code, result.patch]), flush=True)


async def work(tasks: list[str]) -> None:
    with drain_on_sigterm() as asked:
        results = await Sandbox(on_event=tell).abatch(tasks)
    assert asked.is_set()
    for place, result in enumerate(results):
        show(place, result)


def work_with_grace(tasks: list[str]) -> None:
    with drain_on_sigterm(grace=60) as asked:
        for place, result in Sandbox(on_event=tell).batch_as_completed(tasks, max_concurrency=1):
            show(place, result)
    assert asked.is_set()


if __name__ == "__main__":
    wanted = ["Work."] * int(sys.argv[2])
    if sys.argv[1] == "grace":
        work_with_grace(wanted)
    else:
        asyncio.run(work(wanted))
