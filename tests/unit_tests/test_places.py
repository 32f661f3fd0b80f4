"""Who may boot now: tasks before those who boot ahead of need, and nobody waits for a place that is free."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from langchain_sandbox.errors import SandboxUnavailableError
from langchain_sandbox.places import NEED, Places, read_free_memory

if TYPE_CHECKING:
    from pathlib import Path


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_than_there_are_places() -> None:
    places = Places(2)
    first, second, third = (asyncio.ensure_future(places.take(who, timeout=None)) for who in "abc")
    await settle()
    assert first.done()
    assert second.done()
    assert not third.done()
    places.give("a")
    places.give("a")  # given back already
    await settle()
    assert third.done()


async def test_the_last_place_is_left_to_a_task() -> None:
    places = Places(2)
    ahead = [asyncio.ensure_future(places.take_ahead(who)) for who in "ab"]
    await settle()
    assert [each.done() for each in ahead] == [True, False]
    await places.take("task", timeout=0.001)
    places.give("a")
    await settle()
    assert not ahead[1].done()
    places.give("task")
    await settle()
    assert ahead[1].done()


async def test_a_task_that_waits_comes_first() -> None:
    places = Places(1)
    await places.take("a", timeout=None)
    ahead = asyncio.ensure_future(places.take_ahead("b"))
    await settle()
    task = asyncio.ensure_future(places.take("c", timeout=None))
    await settle()
    places.give("a")
    await settle()
    assert task.done()
    assert not ahead.done()
    places.give("c")
    await settle()
    assert ahead.done()  # also where there is one place in all


async def test_a_wait_has_an_end_that_says_which_limit_it_was() -> None:
    places = Places(1)
    await places.take("a", timeout=None)
    with pytest.raises(SandboxUnavailableError, match=r"1 sandboxes are booting already.*queue_timeout"):
        await places.take("b", timeout=0.01)
    places.give("a")
    await places.take("c", timeout=0.01)


@pytest.mark.parametrize("at_once", [True, False])
async def test_who_gives_up_leaves_no_place_taken(*, at_once: bool) -> None:
    places = Places(1)
    await places.take("a", timeout=None)
    waiting = asyncio.ensure_future(places.take("b", timeout=None))
    await settle()
    if at_once:
        places.give("a")  # its turn has come, and it does not know yet
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    places.give("a")
    await places.take("c", timeout=0.01)


async def test_it_is_quiet_when_no_task_is_under_way() -> None:
    places = Places(1)
    await places.quiet(patience=60)
    with places.task(object()):
        waiting = asyncio.ensure_future(places.quiet(patience=60))
        with places.task(object()):
            await settle()
        await settle()
        assert not waiting.done()
        await places.quiet(patience=0.01)
    await waiting


async def test_it_is_quiet_while_no_task_is_under_way() -> None:
    places = Places(1)
    assert places.is_quiet()
    with places.task(object()):
        with places.task(object()):
            assert not places.is_quiet()
        assert not places.is_quiet()
    assert places.is_quiet()


async def test_where_memory_is_short_tasks_wait_and_one_is_always_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_sandbox.places._LOOK_AGAIN", 0.01)
    free = 0
    places = Places(4, free_memory=lambda: free)
    with places.task("a"):
        await places.take("a", timeout=1)
        places.give("a")  # it has booted, and works
        with pytest.raises(
            SandboxUnavailableError, match=r"no 640 MiB of memory left.*within 0.05 s \(queue_timeout\)"
        ):
            await places.take("b", timeout=0.05)
        second, ahead = (asyncio.ensure_future(each) for each in (places.take("b", timeout=1), places.take_ahead("c")))
        await asyncio.sleep(0.03)
        assert not second.done()
    await settle()
    assert second.done()  # the first is gone
    await asyncio.sleep(0.03)
    assert not ahead.done()  # nobody needs a spare on a machine that has no memory
    free = 2 * NEED
    await asyncio.wait_for(ahead, 1)


async def test_those_who_boot_will_need_theirs() -> None:
    places = Places(4, free_memory=lambda: 3 * NEED - 1)
    turns = [asyncio.ensure_future(places.take(who, timeout=None)) for who in "abc"]
    await settle()
    assert [turn.done() for turn in turns] == [True, True, False]
    places.give("a")
    await settle()
    assert turns[2].done()


async def test_where_nobody_knows_memory_is_no_bound() -> None:
    places = Places(3, free_memory=lambda: None)
    for who in "abc":
        await places.take(who, timeout=0.1)


@pytest.mark.parametrize(
    ("text", "free"),
    [("MemFree: 1 kB\nMemAvailable:   2048 kB\n", 2 * 1024 * 1024), ("", None), ("MemAvailable:\n", None)],
)
def test_what_a_kernel_says_of_its_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, free: int | None
) -> None:
    path = tmp_path / "meminfo"
    path.write_text(text)
    monkeypatch.setattr("langchain_sandbox.places._MEMORY", str(path))
    assert read_free_memory() == free
    path.unlink()
    assert read_free_memory() is None


async def test_few_prepare_while_many_wait_and_all_come_in_order() -> None:
    places = Places(2)
    order: list[int] = []
    preparing = most = 0

    async def run(who: int) -> None:
        nonlocal preparing, most
        with places.task(who):
            await places.approach(who, timeout=None)
            preparing += 1
            most = max(most, preparing)
            await settle()
            await places.take(who, timeout=None)
            preparing -= 1
            order.append(who)
            await settle()

    await asyncio.gather(*(run(who) for who in range(50)))
    assert order == list(range(50))
    assert most == 4


async def test_a_task_that_waits_for_memory_is_not_overtaken() -> None:
    free = 0
    places = Places(2, free_memory=lambda: free)
    with places.task("a"):
        await places.take("a", timeout=None)
        places.give("a")
        waiting = [asyncio.ensure_future(places.take(who, timeout=None)) for who in "bc"]
        await settle()
        free = NEED
        late = asyncio.ensure_future(places.take("d", timeout=None))
        await settle()
        assert [each.done() for each in (*waiting, late)] == [True, False, False]
        places.give("b")
        await settle()
        assert [each.done() for each in (*waiting, late)] == [True, True, False]
        places.give("c")
        await settle()
        assert late.done()


@pytest.mark.parametrize("gives_up", [True, False])
async def test_who_does_not_take_a_place_lets_others_prepare(*, gives_up: bool) -> None:
    places = Places(1)
    for who in "abc":
        await places.approach(who, timeout=None)
    with pytest.raises(SandboxUnavailableError, match=r"turn did not come within 0.01 s \(queue_timeout\)"):
        await places.approach("d", timeout=0.01)
    next_one = asyncio.ensure_future(places.approach("e", timeout=None))
    await settle()
    assert not next_one.done()
    if gives_up:
        with places.task("b"):
            pass
    else:
        places.pass_by("b")  # it has got a spare
    await settle()
    assert next_one.done()
