"""Progress on standard error: one short line for each event, whatever the words in it are."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_sandbox.compose.progress import describe_event


@pytest.mark.parametrize(
    ("kind", "fields", "line"),
    [
        ("tool_started", {"tool": "bash", "input": {"command": "ls\n-l"}}, "-> bash: ls -l"),
        ("tool_started", {"tool": "read", "input": {"filePath": "/a"}}, "-> read: /a"),
        ("tool_started", {"tool": "todo", "input": {}}, "-> todo:"),
        ("tool_ended", {"status": "completed", "output": "one\ntwo\n"}, "<- completed: two"),
        ("tool_ended", {"status": "error", "output": "\x1b[2J\u202egone"}, "<- error: [2Jgone"),
        ("model_call", {"index": 3, "error": None}, "model call 3: answered"),
        ("model_call", {"index": 3, "error": "http_500"}, "model call 3: http_500"),
        ("warning", {"message": "beware"}, "warning: beware"),
        ("text", {"text": "said"}, ""),
    ],
)
def test_an_event_is_one_line_that_steers_no_terminal(kind: str, fields: dict[str, Any], line: str) -> None:
    assert describe_event(kind, fields) == line


def test_a_long_line_is_cut() -> None:
    assert len(describe_event("warning", {"message": "x" * 1000})) == 160
