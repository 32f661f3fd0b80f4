"""Typed answers: validated on the host, mended by the model, and never a reason to lose the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field
from support import bash, make_repository, say

from langchain_sandbox import Sandbox, SandboxResult
from langchain_sandbox.testing import ScriptedModel, Turn


class Finding(BaseModel):
    file: str
    line: int = Field(ge=1)
    severity: Literal["low", "high"]


class Audit(BaseModel):
    summary: str
    findings: list[Finding]


AUDIT = {"summary": "One thing.", "findings": [{"file": "a.py", "line": 3, "severity": "low"}]}


def answer(arguments: dict[str, Any], text: str = "") -> Turn:
    """A turn in which the model gives its typed answer."""
    return {"text": text, "tool_calls": [{"name": "StructuredOutput", "arguments": arguments}]}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository", {"a.py": "x = 1\n"})


def test_a_model_comes_back_as_an_instance_and_as_plain_data(repository: Path) -> None:
    with ScriptedModel([bash("cat a.py"), answer(AUDIT, "Looked at it.")]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository).run("Audit.", output=Audit)
    assert (result.status, result.ending.code) == ("completed", "completed")
    assert result.structured == Audit.model_validate(AUDIT)
    assert result.text == "Looked at it."
    plain = result.model_dump(mode="json")
    assert plain["structured"] == AUDIT
    assert SandboxResult.model_validate_json(result.model_dump_json()).structured == AUDIT
    # The model was shown what is wanted, and made to use a tool.
    tools = {tool["function"]["name"]: tool["function"] for tool in model.requests[0].body["tools"]}
    assert tools["StructuredOutput"]["parameters"]["required"] == ["summary", "findings"]
    assert model.requests[0].body["tool_choice"] == "required"


def test_an_answer_that_does_not_fit_is_asked_for_again_with_the_reasons(repository: Path) -> None:
    wrong = {"summary": "One thing.", "findings": [{"file": "a.py", "line": 0, "severity": "grave"}]}
    with ScriptedModel([answer(wrong), say("It is fine as it is."), answer(AUDIT)]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository).run("Audit.", output=Audit)
    assert result.ok
    assert result.structured == Audit.model_validate(AUDIT)
    first, second = (str(request.messages[-1]["content"]) for request in model.requests[1:])
    assert "findings/0/line" in first
    assert "findings/0/severity" in first
    assert "without calling the tool StructuredOutput" in second
    assert len(result.warnings) == 2
    assert "findings/0/line" in result.warnings[0]


def test_a_model_that_never_gives_it_loses_nothing_but_the_answer(repository: Path) -> None:
    turns = [bash("echo new > new.txt"), answer({"summary": 1}), answer({"summary": 2}), answer({"summary": 3})]
    with ScriptedModel([*turns, say("not asked for")]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository, changes="apply").run("Audit.", output=Audit)
        assert len(model.requests) == 4
    assert (result.status, result.ending.code) == ("incomplete", "invalid_output")
    assert "summary" in result.ending.message
    assert result.structured is None
    assert [file.path for file in result.files] == ["new.txt"]
    assert result.partial
    assert not (repository / "new.txt").exists()


@pytest.mark.parametrize(
    ("wanted", "given", "got"),
    [
        (list[str], {"answer": ["a", "b"]}, ["a", "b"]),
        (Literal["yes", "no"], {"answer": "yes"}, "yes"),
        ({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, {"n": 3}, {"n": 3}),
        ({"type": "array", "items": {"type": "integer"}}, {"answer": [1]}, [1]),
    ],
)
def test_any_type_that_can_be_described_will_do(repository: Path, wanted: Any, given: Any, got: Any) -> None:
    with ScriptedModel([answer(given)]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository).run("Answer.", output=wanted)
    assert result.ok
    assert result.structured == got


def test_a_model_that_fails_on_the_way_ends_as_it_does_without_a_type(repository: Path) -> None:
    with ScriptedModel([bash("echo x > x.txt"), *[{"fault": "context_length"}] * 4]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository).run("Audit.", output=Audit)
    assert result.status == "context_overflow"
    assert [file.path for file in result.files] == ["x.txt"]


def test_a_run_that_is_cut_off_before_its_answer_says_so(repository: Path) -> None:
    with ScriptedModel([answer({"summary": 1}), {"fault": "hang"}]) as model:
        result = Sandbox(model=model.endpoint, workspace=repository, timeout=6).run("Audit.", output=Audit)
    assert result.status == "timeout"
    assert result.structured is None
