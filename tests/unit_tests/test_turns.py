"""Who asks a model server now: in the order in which they came, and never more than wanted at once."""

from __future__ import annotations

import asyncio

import pytest

from langchain_sandbox.gateway.turns import Turns, find_turns


class Asking:
    """Asks at some turns until it is told to stop."""

    def __init__(self, turns: Turns, *, most: int | None) -> None:
        self._stop = asyncio.Event()
        self.begun = False
        self.task = asyncio.ensure_future(self._ask(turns, most))

    async def _ask(self, turns: Turns, most: int | None) -> None:
        async with turns.one(most=most):
            self.begun = True
            await self._stop.wait()

    async def stop(self) -> None:
        self._stop.set()
        await self.task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_they_come_in_order_and_never_more_than_wanted() -> None:
    turns = Turns()
    asking = [Asking(turns, most=2) for _ in range(5)]
    for ended in range(4):
        await settle()
        assert [each.begun for each in asking] == [place < ended + 2 for place in range(5)]
        await asking[ended].stop()
    await asking[4].stop()


async def test_one_without_a_limit_waits_for_nobody_and_is_counted() -> None:
    turns = Turns()
    free, bound = Asking(turns, most=None), Asking(turns, most=1)
    await settle()
    assert (free.begun, bound.begun) == (True, False)
    await free.stop()
    await settle()
    assert bound.begun
    await bound.stop()


async def test_one_with_a_higher_limit_does_not_overtake() -> None:
    turns = Turns()
    asking = [Asking(turns, most=1), Asking(turns, most=1), Asking(turns, most=8)]
    await settle()
    assert [each.begun for each in asking] == [True, False, False]
    await asking[0].stop()
    await settle()
    assert [each.begun for each in asking[1:]] == [True, True]
    for each in asking[1:]:
        await each.stop()


@pytest.mark.parametrize("at_once", [True, False])
async def test_who_gives_up_keeps_no_turn(*, at_once: bool) -> None:
    turns = Turns()
    first, second, third = (Asking(turns, most=1) for _ in range(3))
    await settle()
    if at_once:
        await first.stop()  # the second's turn has come, and it does not know yet
    second.task.cancel()
    await asyncio.wait({second.task})
    assert second.task.cancelled()
    if not at_once:
        await first.stop()
    await settle()
    assert third.begun
    await third.stop()


async def test_a_server_has_the_same_turns_for_all_in_a_loop() -> None:
    assert find_turns("http://a/v1") is find_turns("http://a/v1")
    assert find_turns("http://a/v1") is not find_turns("http://b/v1")
    assert await asyncio.to_thread(asyncio.run, find_elsewhere()) is not find_turns("http://a/v1")


async def find_elsewhere() -> Turns:
    return find_turns("http://a/v1")
