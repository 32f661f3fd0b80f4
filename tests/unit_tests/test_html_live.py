"""The card of a run that is under way: whatever a container says in it is text."""

from __future__ import annotations

from typing import Any

import pytest
from html_reader import Reader, hostile
from hypothesis import given

from langchain_sandbox.activity import Activity
from langchain_sandbox.html.live import build_live_card, build_note_card


def draw(word: str) -> Reader:
    doing = Activity()
    doing.now = word
    return Reader(build_live_card(doing, run_id=word, seconds=3.9, lines=[word, word]) + build_note_card(word, word))


@given(hostile)
def test_no_word_ever_makes_an_element_or_an_attribute(word: str) -> None:
    card = draw(word)
    assert card.odd == []
    assert set(card.elements) == set(draw("word").elements)


def test_it_says_what_happens_and_how_to_stop_it() -> None:
    doing = Activity()
    doing.now, doing.steps, doing.tools, doing.model_calls = "bash: pytest", 1, 2, 3
    doing.prompt_tokens, doing.completion_tokens = 12345, 67
    card = Reader(build_live_card(doing, run_id="0123456789ab", seconds=61.9, lines=["first", "last"]))
    assert "running bash: pytest" in card.text
    assert "1 min 1 s · 1 step · 2 tools · 3 model calls · 12,345 tokens in, 67 out" in card.text
    assert [line.strip() for line in card.words if line.strip() in {"first", "last"}] == ["first", "last"]
    assert "Interrupt the kernel to cancel it." in card.text


@pytest.mark.parametrize("lines", [[], ["x" * 1000]])
def test_it_stays_small(lines: list[Any]) -> None:
    assert len(build_live_card(Activity(), run_id="r", seconds=0, lines=lines)) < 6_000
