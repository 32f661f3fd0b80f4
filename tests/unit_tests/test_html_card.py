"""A result's card for notebooks: whatever a container says in it is text, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from html_reader import PATCH, Reader, hostile, make
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_sandbox.html.card import build_card
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.untrusted import show_controls

OURS = {
    element
    for fields in (
        make(),
        make(
            status="completed", ok=True, applied=True, evidence={"source": "self_reported", "cleanup_confirmed": False}
        ),
        make(status="incomplete", patch=PATCH),
        make(patch="x\n" * 500),
        make(patch=None, patch_reference={"path": "p", "sha256": "s", "size": 1}, files=[], commits=[]),
    )
    for element in Reader(build_card(fields)).elements
}
"""Every element with its attributes that a harmless result has."""


@given(hostile)
@settings(max_examples=300)
def test_no_word_ever_makes_an_element_or_an_attribute(word: str) -> None:
    card = Reader(build_card(make(word)))
    assert card.odd == []
    assert set(card.elements) <= OURS
    assert {name for _, attributes in card.elements for name, _ in attributes} <= {"class", "open"}


@given(hostile)
def test_every_word_is_read_as_it_was_written(word: str) -> None:
    shown = show_controls(" ".join(word.split()))
    text = "\n".join(Reader(build_card(make("", warnings=[word]))).words)
    assert shown in text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_a_patch_of_any_form_is_shown_line_by_line(patch: str) -> None:
    card = Reader(build_card(make(patch=patch)))
    assert card.odd == []
    assert [line for _, line in card.lines if line] == [show_controls(line) for line in patch.split("\n") if line]


def test_the_counts_of_a_hunk_say_what_a_line_is_not_its_looks() -> None:
    lines = Reader(build_card(make(patch=PATCH))).lines
    assert [css for css, _ in lines] == [
        *("file", "faint", "faint", "faint", "hunk"),
        *("same", "del", "del", "add", "faint"),
        "file",
    ]


def test_it_says_how_it_ended_what_changed_and_what_to_do_next() -> None:
    fields = make(
        status="completed",
        ok=True,
        ending={"code": "done", "message": "The agent says that it has done the task.", "hint": "not shown"},
        files=[{"path": "a.py", "kind": "modified", "insertions": 3, "deletions": 1, "risks": ["ci"]}],
        partial=False,
        usage={"model_calls": 2, "prompt_tokens": 12345, "completion_tokens": 6},
        timings={"total": 4.44},
        workspace={"root": "/home/ada/shop"},
    )
    text = Reader(build_card(fields)).text
    assert "completed The agent says that it has done the task." in text
    assert "M a.py ci +3 -1" in text
    assert "Not applied. To apply them, all or none: sandbox.apply(result)" in text
    assert "4.4 s · 12,345 tokens in, 6 out, 2 model calls" in text
    assert "not shown" not in text
    applied = Reader(build_card(fields | {"applied": True})).text
    assert "Applied to /home/ada/shop. To take them back: sandbox.revert(result)" in applied
    rejected = Reader(build_card(fields | {"review": {"decision": "reject", "comment": "Too\nlong."}})).text
    assert "Not applied. A person rejected them: Too long. To apply them" in rejected
    nowhere = Reader(build_card(fields | {"workspace": {"root": None}})).text
    assert 'sandbox.apply(result, workspace="path/to/folder")' in nowhere


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"patch": "x\n" * 1000}, "… and 600 more lines; result.patch has them all"),
        ({"patch": "x" * 1000}, "… (600 more characters)"),
        ({"text": "x" * 7000}, "… (1,000 more characters)"),
        ({"warnings": ["w"] * 60}, "… and 10 more warnings"),
        ({"steps": [{"index": 0, "tools": ["t"] * 60}]}, "… and 10 more tools"),
        ({"patch": None, "patch_reference": {"path": "/kept", "sha256": "", "size": 300000}}, "has 300,000 bytes"),
    ],
)
def test_what_is_long_is_cut_and_says_so(fields: dict[str, Any], said: str) -> None:
    card = build_card(make("", **fields))
    assert said in Reader(card).text
    assert len(card) < 60_000


def test_its_style_touches_nothing_else_on_the_page_and_loads_nothing() -> None:
    style = build_card(make()).partition("<style>")[2].partition("</style>")[0]
    rules = re.findall(r"([^{}]+)\{", style)
    assert rules
    assert all(part.startswith(".lc-sandbox") for rule in rules for part in rule.split(","))
    assert "url(" not in style
    assert "@" not in style


def test_a_notebook_is_given_the_card() -> None:
    result = SandboxResult.model_validate(make("one"))
    assert result._repr_html_() == build_card(result.model_dump(mode="json"))
