"""What a typed answer has to be, and whether one will do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import AfterValidator, BaseModel

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.judge import REPAIRS, Judge
from langchain_sandbox.output import MAX_ANSWER, Output, OutputError


class Leaf(BaseModel):
    when: date
    size: tuple[int, int]


class Tree(BaseModel):
    leaf: Leaf
    children: list[Tree] = []


@dataclass
class Point:
    x: int
    y: int = 0


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


def test_a_model_is_read_as_json_is() -> None:
    leaf = {"when": "2026-11-28", "size": [1, 2]}
    assert Output.of(Leaf).read(leaf) == Leaf(when=date(2026, 11, 28), size=(1, 2))
    assert Output.of(Point).read({"x": 1}) == Point(1)


def test_a_model_that_refers_to_itself_has_an_object_at_its_top() -> None:
    output = Output.of(Tree)
    assert output.schema["type"] == "object"
    assert "Tree" in output.schema["$defs"]
    leaf = {"when": "2026-11-28", "size": [1, 2]}
    assert output.read({"leaf": leaf, "children": [{"leaf": leaf}]}).children[0].leaf.size == (1, 2)


def test_what_is_no_object_is_wrapped_in_one() -> None:
    output = Output.of(list[Leaf])
    assert output.schema["required"] == ["answer"]
    assert set(output.schema["$defs"]) == {"Leaf"}
    assert output.read({"answer": []}) == []
    for wrong in ([], {"answer": [], "more": 1}, {}, None):
        with pytest.raises(OutputError):
            output.read(wrong)


def test_faults_name_places() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "k": {"enum": ["a"]}}, "required": ["n"]}
    with pytest.raises(OutputError) as caught:
        Output.of(schema).read({"n": "x", "k": "b"})
    assert caught.value.faults == ["k: 'b' is not one of ['a']", "n: 'x' is not of type 'integer'"]
    with pytest.raises(OutputError, match="leaf/when: "):
        Output.of(Tree).read({"leaf": {"when": "yesterday", "size": [1, 2]}})


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "nonsense"},
        {"type": "object", "properties": 3},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"$id": "http://127.0.0.1:9/", "type": "object"},
        {"type": "object", "properties": {"a": {"$ref": "#/definitions/Nowhere"}}},
        {"type": "object", "default": {1, 2}},
        {"type": "object", "description": "x" * 300_000},
        lambda: None,
        "Model",
        "list[str]",
        3,
    ],
)
def test_what_cannot_be_described_is_refused_at_once(wanted: Any) -> None:
    with pytest.raises(SandboxConfigError, match="output"):
        Output.of(wanted)


def test_why_a_type_cannot_be_described_is_said() -> None:
    with pytest.raises(SandboxConfigError, match="not fully defined"):
        Output.of(list["Nowhere"])  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize("group", ["$defs", "definitions"])
def test_references_of_either_draft_lead_where_they_led(group: str) -> None:
    named = {group: {"X": {"type": "object", "properties": {"n": {"type": "integer"}}}}}
    there = {"$ref": f"#/{group}/X"}
    top = Output.of({**named, **there, "required": ["n"]})
    assert (top.schema["type"], top.schema["required"]) == ("object", ["n"])
    assert top.read({"n": 1}) == {"n": 1}
    items = Output.of({**named, "type": "array", "items": there})
    assert items.schema[group] == named[group]
    assert items.read({"answer": [{"n": 1}]}) == [{"n": 1}]
    itself = {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"}}, {"$ref": "#/anyOf/0"}]}
    lists = Output.of(itself)
    validator = Draft202012Validator(lists.schema)  # as whoever is shown the schema understands it
    for answer, fits in (({"answer": [[None]]}, True), ({"answer": [1]}, False)):
        assert validator.is_valid(answer) == fits


def test_a_property_may_be_called_as_a_keyword_is() -> None:
    schema = {"type": "object", "properties": {"$ref": {"type": "string"}}}
    assert Output.of(schema).read({"$ref": "http://example.com"}) == {"$ref": "http://example.com"}


def test_a_validator_that_raises_is_a_fault_and_no_end_of_the_run() -> None:
    with pytest.raises(OutputError, match="ZeroDivisionError"):
        Output.of(Annotated[int, AfterValidator(lambda value: 1 // value)]).read({"answer": 0})


@pytest.mark.parametrize(
    ("wanted", "answer", "word"),
    [
        (float, "1e999", "not finite"),
        (dict[str, float], {"a": "nan"}, "not finite"),
        (int, "9" * 30, "too big"),
        (Annotated[str, AfterValidator(lambda _: object())], "a", "serialize"),
    ],
)
def test_what_a_type_makes_of_an_answer_has_to_be_kept_as_well(wanted: Any, answer: Any, word: str) -> None:
    output = Output.of(wanted)
    with pytest.raises(OutputError, match=word):
        output.read({"answer": answer} if "answer" in output.schema.get("properties", ()) else answer)


def test_an_iterable_can_be_read_more_than_once() -> None:
    assert Output.of(Iterable[int]).read({"answer": [1, 2]}) == [1, 2]


def test_a_fault_shows_what_is_wrong_with_a_long_value() -> None:
    with pytest.raises(OutputError, match=r"is not one of \['a'\]$"):
        Output.of({"enum": ["a"]}).read({"answer": "x" * 1000})


@pytest.mark.parametrize(
    ("strange", "word"),
    [
        ("\ud800", "half of a character"),
        ({"\udfff": 1}, "half of a character"),
        (float("nan"), "not finite"),
        (float("inf"), "not finite"),
        (2**63, "too big"),
        ("x" * (MAX_ANSWER + 1), "longer than"),
        ([0] * MAX_ANSWER, "longer than"),
        (json.loads("[" * 100 + "]" * 100), "too deep"),
    ],
)
def test_what_could_not_be_kept_is_no_answer(strange: Any, word: str) -> None:
    with pytest.raises(OutputError, match=word):
        Output.of({"type": "object"}).read({"a": strange})


@given(JSON)
def test_any_json_is_read_or_refused_with_reasons(answer: Any) -> None:
    judge = Judge(Output.of(Tree))
    judge.hear(answer)
    assert judge.accepted == (not judge.faults) == isinstance(judge.value, Tree)
    assert all(len(fault) <= 300 for fault in judge.faults)
    assert Output.of({"type": "object"}).read({"any": answer}) == {"any": answer}


def test_a_judge_asks_twice_and_no_more() -> None:
    judge = Judge(Output.of(Point))
    assert judge.verdict == "there was none"
    told = [judge.hear({"x": "a"}) for _ in range(REPAIRS + 1)]
    assert all(words and "- x: " in words for words in told[:-1])
    assert told[-1] is None
    assert (judge.accepted, judge.value) == (False, None)
    assert judge.verdict.startswith("x: ")


def test_a_judge_takes_the_first_answer_that_will_do() -> None:
    judge = Judge(Output.of(Point))
    assert "without calling" in str(judge.hear(None))
    assert judge.hear({"x": 1}) is None
    assert judge.hear({"x": 2}) is None
    assert (judge.accepted, judge.value, judge.verdict) == (True, Point(1), "")


def test_what_a_model_is_told_steers_no_terminal() -> None:
    schema = {"type": "object", "properties": {"k": {"enum": ["a"]}}}
    assert "\x1b" not in str(Judge(Output.of(schema)).hear({"k": "\x1b[31m"}))
