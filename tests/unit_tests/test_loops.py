"""What is taken for going round in circles, and what only looks like it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from langchain_sandbox.gateway.loops import Circles, LoopDetector

if TYPE_CHECKING:
    from collections.abc import Iterable

Call = tuple[str, dict[str, Any], str]
REPEATS = 12


def talk(calls: Iterable[Call], *, task: str = "Do it.") -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": "s"}, {"role": "user", "content": task}]
    for number, (tool, arguments, result) in enumerate(calls):
        function = {"name": tool, "arguments": json.dumps(arguments)}
        call = {"id": f"c{number}", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": result})
    return messages


def follow(calls: list[Call]) -> list[str | None]:
    detector = LoopDetector(REPEATS)
    return [detector.hear(talk(calls[:count])) for count in range(len(calls) + 1)]


TEST: Call = ("bash", {"command": "make test"}, "1 failed")


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_the_same_again_and_again_is_a_circle(length: int) -> None:
    lap: list[Call] = [("read", {"filePath": f"{number}"}, "x") for number in range(length)]
    told = follow(lap * REPEATS)
    assert told[:-1] == [None] * (length * REPEATS)
    names = ", ".join(["read"] * length)
    assert told[-1] == f"the agent goes round in a circle: {names}, {REPEATS} times with the same results"


@pytest.mark.parametrize(
    "calls",
    [
        [("bash", {"command": "sleep 5; tail -1 log"}, f"line {number}") for number in range(100)],
        [("edit", {"filePath": "a", "newString": str(number)}, "ok") for number in range(100)],
        [call for number in range(50) for call in (("edit", {"filePath": "a", "newString": str(number)}, "ok"), TEST)],
        [TEST] * (REPEATS - 1) + [("read", {"filePath": "a"}, "x")] + [TEST] * (REPEATS - 1),
        [("read", {"filePath": f"{number % 5}"}, "x") for number in range(100)],
    ],
    ids=["it waits", "it edits", "it tests after each edit", "it looks at something else", "a longer circle"],
)
def test_what_brings_something_new_is_none(calls: list[Call]) -> None:
    assert set(follow(calls)) == {None}


def test_a_request_that_is_sent_again_is_no_step() -> None:
    detector = LoopDetector(REPEATS)
    for _ in range(3 * REPEATS):
        assert detector.hear(talk([TEST])) is None


def test_it_begins_anew_when_the_conversation_was_summed_up() -> None:
    detector = LoopDetector(REPEATS)
    assert detector.hear(talk([TEST] * (REPEATS - 1))) is None
    assert detector.hear(talk([])) is None
    assert detector.hear(talk([TEST])) is None
    assert detector.hear(talk([TEST] * (REPEATS - 1))) is None
    assert detector.hear(talk([TEST] * REPEATS)) is not None


def test_conversations_that_take_turns_are_told_apart() -> None:
    circles = Circles(REPEATS)
    for count in range(REPEATS):
        for task in ("one", "two"):
            assert circles.hear(talk([TEST] * count, task=task)) is None
    assert circles.hear(talk([TEST] * REPEATS, task="one")) is not None


def test_nobody_looks_where_nobody_wants_it() -> None:
    circles = Circles(None)
    assert {circles.hear(talk([TEST] * count)) for count in range(3 * REPEATS)} == {None}


def test_what_it_remembers_is_bounded() -> None:
    circles = Circles(2)
    for number in range(1_000):
        assert circles.hear(talk([TEST], task=str(number))) is None
    assert len(circles._detectors) <= 64


@pytest.mark.parametrize(
    "messages",
    [
        None,
        {},
        "x",
        [None, 1, {}],
        [{"role": "assistant"}],
        [{"role": "assistant", "tool_calls": [1, {}, {"function": 1}]}],
        [{"role": "assistant", "tool_calls": [1]}, {"role": "tool"}],
    ],
)
def test_what_is_no_conversation_is_passed_over(messages: object) -> None:
    circles = Circles(2)
    assert {circles.hear(messages) for _ in range(5)} == {None}
