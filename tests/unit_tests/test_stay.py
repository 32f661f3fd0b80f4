"""Whose turn it is in a session, and when it is over. No container is needed for that."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from langchain_sandbox.agent.main import Agent
from langchain_sandbox.config import Limits
from langchain_sandbox.errors import SessionOverError
from langchain_sandbox.stay import Stay
from langchain_sandbox.workspace.following import Following

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Task:
    """A task that takes as long as it is told to."""

    def __init__(self) -> None:
        self.cancelled = anyio.Event()
        self.done = asyncio.Event()
        self.began = asyncio.Event()

    def cancel(self) -> None:
        self.cancelled.set()

    async def work(self, stay: Stay) -> str:
        async with stay.task(self, cancelled=self.cancelled):
            self.began.set()
            waiting = {asyncio.ensure_future(self.done.wait()), asyncio.ensure_future(self.cancelled.wait())}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return "cancelled" if self.cancelled.is_set() else "done"


@asynccontextmanager
async def serve(idle: float = 60.0) -> AsyncIterator[Stay]:
    stay = Stay(Following(None, Limits()), idle=idle)
    serving = asyncio.create_task(stay.serve())
    await asyncio.sleep(0)
    yield stay
    await stay.aclose()
    await serving


def begin(stay: Stay, count: int) -> tuple[list[Task], list[asyncio.Task[str]]]:
    tasks = [Task() for _ in range(count)]
    return tasks, [asyncio.create_task(task.work(stay)) for task in tasks]


def test_tasks_have_their_turns_and_who_is_cancelled_needs_none() -> None:
    async def scenario() -> list[str]:
        async with serve() as stay:
            tasks, working = begin(stay, 3)
            await tasks[0].began.wait()
            tasks[1].cancel()
            results = [await working[1]]
            assert not tasks[2].began.is_set()
            tasks[0].done.set()
            await tasks[2].began.wait()
            tasks[2].done.set()
            return [*results, await working[0], await working[2]]

    assert asyncio.run(scenario()) == ["cancelled", "done", "done"]


def test_whoever_gives_up_waiting_takes_no_turn_along() -> None:
    async def scenario() -> str:
        async with serve() as stay:
            tasks, working = begin(stay, 3)
            await tasks[0].began.wait()
            tasks[0].done.set()
            working[1].cancel()  # at the very moment at which it may get its turn
            await asyncio.wait(working[:2])
            tasks[2].done.set()
            return await working[2]

    assert asyncio.run(scenario()) == "done"


def test_closing_cancels_who_has_the_turn_and_refuses_who_waits() -> None:
    async def scenario() -> None:
        async with serve() as stay:
            tasks, working = begin(stay, 2)
            await tasks[0].began.wait()
            await stay.aclose()
            assert await working[0] == "cancelled"
            with pytest.raises(SessionOverError, match="The session is over: it was closed"):
                await working[1]

    asyncio.run(scenario())


def test_a_task_that_loses_the_container_is_not_cancelled_for_that() -> None:
    async def scenario() -> str:
        async with serve() as stay:
            (task,), (working,) = begin(stay, 1)
            await task.began.wait()
            stay.lose("its last task did not end well")
            await asyncio.sleep(0.05)
            assert stay.over
            task.done.set()
            with pytest.raises(SessionOverError, match="its last task did not end well"):
                await Task().work(stay)
            return await working

    assert asyncio.run(scenario()) == "done"


def test_one_that_nobody_holds_does_what_it_was_given() -> None:
    async def scenario() -> list[str]:
        async with serve() as stay:
            tasks, working = begin(stay, 2)
            await tasks[0].began.wait()
            stay.leave()
            for task in tasks:
                await task.began.wait()
                await asyncio.sleep(0.01)
                assert not stay.over
                task.done.set()
            results = [await each for each in working]
            with pytest.raises(SessionOverError):
                await Task().work(stay)
            return results

    assert asyncio.run(scenario()) == ["done", "done"]


@pytest.mark.parametrize("resting", [True, False])
def test_a_deadline_ends_a_container_unless_it_waits(*, resting: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Work:
        def __init__(self) -> None:
            self.resting = resting

    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    agent = Agent(*os.pipe())
    agent._work = Work()  # type: ignore[assignment]
    agent._expire()
    assert ended == ([] if resting else [124])
