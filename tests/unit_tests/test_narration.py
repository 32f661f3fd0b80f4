"""What happens in a run, as one line for each event, and as what is going on now."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_sandbox.activity import Activity, describe_event
from langchain_sandbox.events import build_event
from langchain_sandbox.narration import narrate

CALL = {"index": 3, "prompt_tokens": 10, "completion_tokens": 2, "duration": 1.25, "error": None}
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("started", {"container": "c", "model": "m"}),
    ("model_call_started", {"index": 3, "model": "m", "provider": "p", "messages": 2, "tools": 10}),
    ("model_call", {**CALL, "status": 200, "first_byte": 0.1}),
    ("text", {"text": "I look"}),
    ("tool_started", {"call_id": "1", "tool": "bash", "input": {"command": "ls"}}),
    ("tool_started", {"call_id": "2", "tool": "grep", "input": {"pattern": "x"}}),
    ("tool_ended", {"call_id": "1", "tool": "bash", "status": "completed", "output": ""}),
    ("tool_ended", {"call_id": "2", "tool": "grep", "status": "error", "output": "no"}),
    ("step", {"index": 0, "reason": "tool-calls"}),
    ("finished", {"status": "completed", "ok": True}),
]


@pytest.mark.parametrize(
    ("kind", "fields", "line"),
    [
        ("tool_started", {"tool": "bash", "input": {"command": "ls\n-l"}}, "-> bash: ls -l"),
        ("tool_started", {"tool": "read", "input": {"filePath": "/a"}}, "-> read: /a"),
        ("tool_started", {"tool": "read", "input": {"filePath": "/run/ws/repo/src/a"}}, "-> read: src/a"),
        ("tool_started", {"tool": "todo", "input": {}}, "-> todo"),
        ("tool_started", {"tool": "todo", "input": {"n": 1}}, "-> todo: {'n': 1}"),
        ("tool_ended", {"status": "completed", "output": "one\ntwo\n"}, "<- completed: two"),
        (
            "tool_ended",
            {"status": "completed", "output": "1: a\n\n(End of file)\n</content>"},
            "<- completed: (End of file)",
        ),
        ("tool_ended", {"status": "error", "output": "\x1b[2J\u202egone"}, "<- error: [2Jgone"),
        ("model_call", CALL, "model call 3: 10 + 2 tokens in 1.2 s"),
        ("model_call", {**CALL, "error": "http_500"}, "model call 3: 10 + 2 tokens in 1.2 s, http_500"),
        ("warning", {"message": "beware"}, "warning: beware"),
        ("text", {"text": "said\nso"}, "said so"),
        ("step", {"index": 0, "reason": "stop"}, ""),
    ],
)
def test_an_event_is_one_line_that_steers_no_terminal(kind: str, fields: dict[str, Any], line: str) -> None:
    assert narrate(kind, fields) == line


@pytest.mark.parametrize(("kind", "fields"), EVENTS)
def test_an_event_and_its_plain_data_are_told_alike(kind: str, fields: dict[str, Any]) -> None:
    event = build_event(kind, run_id="r", at=1.0, **fields)
    assert describe_event(event) == describe_event(event.model_dump())


def test_an_activity_says_what_goes_on_now() -> None:
    activity, told = Activity(), []
    for number, (kind, fields) in enumerate(EVENTS):
        activity.update(build_event(kind, run_id="r", at=float(number), **fields))
        told.append(activity.now)
    assert told == [
        "boots",
        "thinks",
        "thinks",
        "writes",
        "bash: ls",
        "grep: x",
        "grep: x",
        "thinks",
        "thinks",
        "completed",
    ]
    assert (activity.steps, activity.tools, activity.model_calls, activity.at) == (1, 2, 1, 9.0)
    assert (activity.prompt_tokens, activity.completion_tokens) == (10, 2)
