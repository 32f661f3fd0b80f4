"""Whether agents at work are taken for agents in a circle: hundreds of made-up conversations of both kinds.

They are made of what agents do: habits below, each with the results that such tools give, put together by chance. The
seeds are fixed, so what holds here holds again.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from langchain_sandbox.config import Limits
from langchain_sandbox.gateway.loops import LoopDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Call: TypeAlias = "tuple[str, dict[str, Any], str]"
REPEATS = Limits().repeats or 0
TRACES = 300
HABITS = 8  # in one conversation

FILES = ["calc.py", "app/main.py", "tests/test_calc.py", "README.md"]
NOT_FOUND = "Error: oldString not found in content"


def _took(chance: random.Random) -> str:
    return f"in {chance.uniform(0.01, 3):.2f}s"


def edit_and_test(chance: random.Random) -> Iterator[Call]:
    """The tests fail as before, after each of many edits."""
    for number in range(chance.randint(2, 25)):
        yield "edit", {"filePath": "calc.py", "oldString": f"x{number}", "newString": f"x{number + 1}"}, "Edit applied."
        yield "bash", {"command": "pytest -q"}, f"1 failed, 11 passed {_took(chance)}"


def edit_there_and_back(chance: random.Random) -> Iterator[Call]:
    """One way, the other way, and a test after each, as somebody who compares."""
    for number in range(chance.randint(2, 8)):
        old, new = ("a", "b")[:: 1 if number % 2 else -1]
        yield "edit", {"filePath": "calc.py", "oldString": old, "newString": new}, "Edit applied."
        yield "bash", {"command": "pytest -q"}, f"{number % 2} failed {_took(chance)}"


def poll(chance: random.Random) -> Iterator[Call]:
    """A server that takes its time to come up."""
    command = {"command": "sleep 2; curl -s localhost:8000/health"}
    for _ in range(chance.randint(1, REPEATS - 2)):
        yield "bash", command, "curl: (7) Failed to connect to localhost port 8000"
    yield "bash", command, "ok"


def follow_a_log(chance: random.Random) -> Iterator[Call]:
    """A build that goes on."""
    for number in range(chance.randint(5, 40)):
        yield "bash", {"command": "sleep 5; tail -1 build.log"}, f"[{number}/40] compiling, {5 * number} s"


def retry_flaky(chance: random.Random) -> Iterator[Call]:
    """A test that passes now and then."""
    for _ in range(chance.randint(2, REPEATS - 2)):
        yield "bash", {"command": "pytest -q -k flaky"}, f"1 failed {_took(chance)}"
    yield "bash", {"command": "pytest -q -k flaky"}, f"1 passed {_took(chance)}"


def read_again(chance: random.Random) -> Iterator[Call]:
    """Files that were read before, and have not changed."""
    for _ in range(chance.randint(3, 30)):
        path = chance.choice(FILES)
        yield "read", {"filePath": path}, f"the content of {path}"


def plan(chance: random.Random) -> Iterator[Call]:
    """A list of what is to be done, told again after each step."""
    for number in range(chance.randint(3, 15)):
        todos = [{"content": f"step {each}", "status": "done" if each < number else "pending"} for each in range(15)]
        for _ in range(chance.randint(1, 2)):
            yield "todowrite", {"todos": todos}, json.dumps(todos)


def search(chance: random.Random) -> Iterator[Call]:
    """Many patterns that are nowhere."""
    for number in range(chance.randint(3, 30)):
        yield "grep", {"pattern": f"name_{number}"}, "No files found"


def fail_to_edit(chance: random.Random) -> Iterator[Call]:
    """An edit that does not fit, tried again and again with a look between."""
    for number in range(chance.randint(2, 8)):
        yield "edit", {"filePath": "calc.py", "oldString": "  x", "newString": "y"}, NOT_FOUND
        yield "read", {"filePath": "calc.py", "offset": number}, f"line {number}"


WORK: list[Callable[[random.Random], Iterator[Call]]] = [
    edit_and_test,
    edit_there_and_back,
    poll,
    follow_a_log,
    retry_flaky,
    read_again,
    plan,
    search,
    fail_to_edit,
]

STEPS: list[Call] = [
    ("bash", {"command": "pytest -q"}, "1 failed"),
    ("edit", {"filePath": "calc.py", "oldString": "  x", "newString": "y"}, NOT_FOUND),
    ("read", {"filePath": "calc.py"}, "def add(a, b): ..."),
    ("bash", {"command": "cat missing"}, "cat: missing: No such file or directory"),
    ("todowrite", {"todos": [{"content": "fix it", "status": "pending"}]}, "[]"),
    ("glob", {"pattern": "**/*.py"}, "calc.py"),
]


class Listener:
    """Hears a conversation as the gateway does: all of it, again, at each request."""

    def __init__(self) -> None:
        self._detector = LoopDetector(REPEATS)
        self._messages: list[dict[str, Any]] = [{"role": "system", "content": "s"}, {"role": "user", "content": "Do."}]

    def hear(self, call: Call) -> str | None:
        tool, arguments, result = call
        name = f"c{len(self._messages)}"
        function = {"name": tool, "arguments": json.dumps(arguments)}
        words = f"Step {len(self._messages)}."  # what is said beside a call is another thing each time
        self._messages += [
            {"role": "assistant", "content": words, "tool_calls": [{"id": name, "function": function}]},
            {"role": "tool", "tool_call_id": name, "content": result},
        ]
        return self._detector.hear(self._messages)


def work(chance: random.Random) -> Iterator[Call]:
    """An agent that gets on, one way or the other."""
    last = None
    for _ in range(HABITS):
        last = chance.choice([habit for habit in WORK if habit is not last])
        yield from last(chance)


def test_agents_at_work_are_never_taken_for_agents_in_a_circle() -> None:
    steps = 0
    for seed in range(TRACES):
        listener = Listener()
        for call in work(random.Random(seed)):
            steps += 1
            assert listener.hear(call) is None, (seed, call)
    assert steps > 35_000


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_agents_in_a_circle_are_found_in_the_last_step_of_the_last_round(length: int) -> None:
    for seed in range(TRACES // 4):
        chance, listener = random.Random(seed), Listener()
        assert {listener.hear(call) for call in work(chance)} == {None}
        listener.hear(("write", {"filePath": "new.py", "content": str(seed)}, "Wrote file."))
        circle = chance.sample(STEPS, length)
        told = [listener.hear(call) for _ in range(REPEATS) for call in circle]
        assert set(told[:-1]) == {None}
        assert told[-1] is not None


def test_how_long_tests_took_is_nothing_new() -> None:
    chance, listener = random.Random(1), Listener()
    told = [listener.hear(("bash", {"command": "pytest"}, f"1 failed {_took(chance)}")) for _ in range(REPEATS)]
    assert told[-1] is not None


def test_how_long_somebody_has_waited_is() -> None:
    listener = Listener()
    assert {listener.hear(("bash", {"command": "wait"}, f"waiting, {n} s")) for n in range(3 * REPEATS)} == {None}
