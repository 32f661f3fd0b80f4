"""Whether an agent goes round in circles, told by what is said to its model. Pure.

Only what brings nothing new counts: the same calls of the same tools with the same arguments *and* the same results,
again and again. A tool that is asked for the same thing and answers something else is waiting, or working. What test
runners say of how long they took, such as `in 0.03s`, is nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from typing import Any

_LONGEST = 4
"""Steps in the longest circle that is looked for."""
_MAX_CONVERSATIONS = 64
_MAX_NAME = 50
# A fraction, since whole seconds are what somebody counts who waits. Bounded, since the text is untrusted.
_TOOK = re.compile(r"(?<!\d)\d{1,9}\.\d{1,9} ?m?s\b")


class Circles:
    """Told of each request of a run; each of its conversations, the subagents' too, has a `LoopDetector`.

    Args:
        repeats: As for `LoopDetector`; `None` to look for none.
    """

    def __init__(self, repeats: int | None) -> None:
        self._repeats = repeats
        self._detectors: dict[str, LoopDetector] = {}

    def hear(self, messages: object) -> str | None:
        """As `LoopDetector.hear`.

        Args:
            messages: As there.
        """
        if self._repeats is None or not isinstance(messages, list):
            return None
        name = _mark(messages[:2])  # the instructions and the task
        if name not in self._detectors and len(self._detectors) >= _MAX_CONVERSATIONS:
            self._detectors.pop(next(iter(self._detectors)))
        return self._detectors.setdefault(name, LoopDetector(self._repeats)).hear(messages)


class LoopDetector:
    """Told of each request of one conversation, in their order.

    Args:
        repeats: How often the same has to come, without anything else in between, for it to be a circle.
    """

    def __init__(self, repeats: int) -> None:
        self._repeats = repeats
        self._steps: deque[tuple[str, str]] = deque(maxlen=repeats * _LONGEST)
        self._told = 0

    def hear(self, messages: list[Any]) -> str | None:
        """Take a request's messages, and say in which circle the agent goes, if it does.

        Args:
            messages: All of the conversation, as OpenCode sends it. Untrusted.
        """
        turns = [message for message in messages if _has_calls(message)]
        if len(turns) < self._told:  # it was summed up: what is new in it cannot be told
            self._steps.clear()
            self._told = len(turns)
        # Who repeats a request, as after a failure, adds nothing.
        new = turns[self._told :]
        self._told = len(turns)
        if not new:
            return None
        results = _read_results(messages)
        self._steps.extend(_describe(turn, results) for turn in new)
        for length in range(1, _LONGEST + 1):
            if self._goes_round(length):
                names = ", ".join(name for _, name in list(self._steps)[-length:])
                return f"the agent goes round in a circle: {names}, {self._repeats} times with the same results"
        return None

    def _goes_round(self, length: int) -> bool:
        needed = length * self._repeats
        if len(self._steps) < needed:
            return False
        last = [mark for mark, _ in self._steps][-needed:]
        return all(last[index] == last[index % length] for index in range(needed))


def _has_calls(message: object) -> bool:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return False
    calls = message.get("tool_calls")
    return isinstance(calls, list) and bool(calls)


def _read_results(messages: list[Any]) -> dict[str, object]:
    """What the tools answered, by the call's name; OpenCode's models number them anew, so the last one counts."""
    return {
        str(message.get("tool_call_id")): message.get("content")
        for message in messages
        if isinstance(message, dict) and message.get("role") == "tool"
    }


def _describe(turn: dict[str, Any], results: dict[str, object]) -> tuple[str, str]:
    """A mark for a turn in which tools were called, with their results; and the tools' names."""
    calls = [call for call in turn["tool_calls"] if isinstance(call, dict)]
    functions = [call.get("function") for call in calls]
    answered = [_take_out_times(results.get(str(call.get("id")))) for call in calls]
    names = [str(each.get("name"))[:_MAX_NAME] for each in functions if isinstance(each, dict)]
    return _mark([functions, answered]), " and ".join(names) or "a tool"


def _take_out_times(result: object) -> str:
    return _TOOK.sub("", json.dumps(result, sort_keys=True, default=str))


def _mark(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
