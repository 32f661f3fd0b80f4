"""Whatever a container says can be written down afterwards, and takes little room."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_sandbox.events import build_event
from langchain_sandbox.report import Report
from langchain_sandbox.transcript import Transcript
from langchain_sandbox.untrusted import clean_json, clean_name, clean_text

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=())), inner),
)


@given(anything)
def test_any_json_value_becomes_one_that_can_be_encoded(value: Any) -> None:
    json.dumps(clean_json(value), ensure_ascii=False).encode()
    clean_text(value, 100).encode()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert clean_text(text, 50) == text
    assert clean_json({"a": [text]}) == {"a": [text]}


def test_names_that_are_not_unicode_are_shown_as_escapes() -> None:
    assert clean_name("caf\udce9") == "caf\\xe9"


def nest(depth: int) -> dict[str, Any]:
    return {"a": nest(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "\ud800"},
        {"type": "text", "text": "x" * 5_000_000},
        {"type": "step-finish", "reason": "x" * 5_000_000},
        {"type": "tool", "callID": "c", "tool": "x", "state": {"status": "running", "input": nest(400)}},
        {"type": "tool", "callID": "c", "tool": "x", "state": {"status": "running", "input": {"a": "x" * 5_000_000}}},
        {"type": "text", "text": "x", "messageID": []},
    ],
)
def test_every_event_is_short_and_can_be_written(part: dict[str, Any]) -> None:
    events = []
    transcript = Transcript(
        lambda kind, **fields: events.append(build_event(kind, run_id="r", at=0.0, **fields)), clock=lambda: 0.0
    )
    transcript.on_event({"type": "session.created", "properties": {"sessionID": "s"}})
    transcript.on_event({"type": "message.updated", "properties": {"info": {"id": "m", "role": "assistant"}}})
    body = {"sessionID": "s", "messageID": "m", "id": "p"} | part
    transcript.on_event({"type": "message.part.updated", "properties": {"part": body}})
    assert all(len(event.model_dump_json()) < 200_000 for event in events)


def test_a_claimed_error_can_be_written() -> None:
    error = Report(began=0, claim={"error": {"name": "\ud800", "message": []}, "full": [1], "finish": {}}).facts().error
    assert error is not None
    "".join(error).encode()
