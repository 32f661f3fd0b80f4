"""Events go from the thread in which they happen to whoever reads them, in order, and never without end."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_sandbox.event_log import MAX_EVENTS, EventLog
from langchain_sandbox.events import SandboxEvent, StepEvent, TextEvent, WarningEvent


def text(words: str) -> TextEvent:
    return TextEvent(run_id="r", at=0.0, text=words)


def step(index: int) -> StepEvent:
    return StepEvent(run_id="r", at=0.0, index=index, reason="stop")


def filled(*events: SandboxEvent) -> EventLog:
    log = EventLog()
    for event in events:
        log.put(event)
    log.close()
    return log


def read_here(log: EventLog) -> list[SandboxEvent]:
    return list(log)


def read_in_a_thread(log: EventLog) -> list[SandboxEvent]:
    found: list[SandboxEvent] = []
    reader = threading.Thread(target=lambda: found.extend(log))
    reader.start()
    reader.join(10)
    assert not reader.is_alive()
    return found


def read_in_a_loop(log: EventLog) -> list[SandboxEvent]:
    async def read() -> list[SandboxEvent]:
        async with asyncio.timeout(10):
            return [event async for event in log]

    return asyncio.run(read())


READERS = [read_here, read_in_a_thread, read_in_a_loop]
Reader = Callable[[EventLog], list[SandboxEvent]]


@pytest.mark.parametrize("read", READERS)
def test_events_are_read_in_the_order_in_which_they_happened(read: Reader) -> None:
    events = [step(0), text("a"), step(1), step(2), text("b")]
    assert read(filled(*events)) == events


@given(st.lists(st.one_of(st.integers(0, 9).map(step), st.text(max_size=3).map(text)), max_size=30))
def test_texts_that_nobody_has_read_are_joined_and_nothing_of_them_is_lost(events: list[SandboxEvent]) -> None:
    def flatten(some: Iterable[SandboxEvent]) -> list[object]:
        return [item for event in some for item in (event.text if isinstance(event, TextEvent) else [event])]

    found = read_here(filled(*events))
    assert flatten(found) == flatten(events)
    assert not any(isinstance(one, TextEvent) and isinstance(other, TextEvent) for one, other in pairwise(found))


def test_a_joined_text_does_not_grow_without_end() -> None:
    found = read_here(filled(*(text("x" * 1000) for _ in range(1000))))
    assert sum(len(event.text) for event in found) == 1_000_000
    assert max(len(event.text) for event in found) < 70_000


@pytest.mark.parametrize("read", READERS)
def test_at_the_limit_the_oldest_are_dropped_and_a_warning_says_how_many(read: Reader) -> None:
    first, *rest = read(filled(*(step(index) for index in range(MAX_EVENTS + 7))))
    assert isinstance(first, WarningEvent)
    assert first.message.startswith("7 events were dropped")
    assert [event.index for event in rest] == list(range(7, MAX_EVENTS + 7))


@pytest.mark.parametrize("read", READERS)
def test_a_log_that_was_closed_empty_is_read_as_nothing(read: Reader) -> None:
    assert read(filled()) == []


@pytest.mark.parametrize("read", READERS)
def test_a_reader_that_waits_gets_each_event_as_it_happens(read: Reader) -> None:
    log = EventLog()

    def produce() -> None:
        for index in range(200):
            log.put(step(index))
            if index % 50 == 0:
                time.sleep(0.01)
        log.close()

    producer = threading.Thread(target=produce)
    producer.start()
    assert [event.index for event in read(log)] == list(range(200))
    producer.join()


@pytest.mark.parametrize("read", READERS)
def test_closing_wakes_a_reader_that_waits(read: Reader) -> None:
    log = EventLog()
    closer = threading.Timer(0.05, log.close)
    closer.start()
    assert read(log) == []
    closer.join()


def test_one_loop_may_go_on_reading_where_another_ended() -> None:
    log = filled(step(0), step(1), step(2))

    async def read_one() -> SandboxEvent:
        return await anext(aiter(log))

    found = [asyncio.run(read_one()) for _ in range(2)]
    log.put(step(3))  # the loops that read before are closed; that must not matter to whoever produces
    assert [*found, *read_in_a_loop(log)] == [step(index) for index in range(4)]


def test_a_reader_that_is_cancelled_leaves_the_events_to_the_next() -> None:
    log = EventLog()

    async def give_up() -> None:
        async for _ in log:
            pytest.fail("there was no event yet")

    async def read() -> list[SandboxEvent]:
        waiting = asyncio.create_task(give_up())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        log.put(step(0))
        log.close()
        return [event async for event in log]

    assert asyncio.run(read()) == [step(0)]


def test_who_produces_never_waits_for_a_reader_that_sleeps() -> None:
    log = EventLog()
    reader = iter(log)
    log.put(step(0))
    next(reader)
    began = time.monotonic()
    for index in range(2000):
        log.put(step(index))
    assert time.monotonic() - began < 5
    log.close()
    assert len(list(reader)) == 2000


def test_what_nobody_will_read_is_not_kept() -> None:
    log = EventLog(most=0)
    for index in range(100):
        log.put(step(index))
    assert not log._events


def test_who_waits_for_events_is_woken_for_something_else() -> None:
    log = filled(step(0))
    assert log.wait(unless=lambda: True) == step(0)  # events come first
    log = EventLog()
    come = threading.Event()
    threading.Thread(target=lambda: (come.set(), log.nudge())).start()
    assert log.wait(unless=come.is_set) is None
    log.close()
    assert log.wait(unless=lambda: False) is None
