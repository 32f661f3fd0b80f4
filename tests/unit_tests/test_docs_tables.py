"""What the documents list is what there is: checks, endings, variables, promises, figures."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import get_args

import pytest
from pages import DOCS, ROOT, read_between

from langchain_sandbox.config import Limits
from langchain_sandbox.doctor.examination import CHECKS
from langchain_sandbox.pool_config import Pool
from langchain_sandbox.result import Status
from langchain_sandbox.workspace_config import Retention

PACKAGE = ROOT / "langchain_sandbox"
TROUBLE = DOCS / "troubleshooting.md"
SETTINGS = DOCS / "limits-and-settings.md"

# Between processes of this package; nobody sets them.
INTERNAL = {"SANDBOX_GATE", "SANDBOX_REPOSITORY"}
# What variables of a kind begin with.
PREFIXES = {"SANDBOX_LIMIT": Limits, "SANDBOX_KEEP": Retention, "SANDBOX_POOL": Pool}
STEMS = {*PREFIXES, "SANDBOX_MODEL"}


def test_every_check_of_doctor_has_an_entry_and_no_entry_is_of_another() -> None:
    entries = re.findall(r"^### (\S+)$", read_between(TROUBLE, "checks"), re.MULTILINE)
    assert sorted(entries) == sorted(check.name for check in CHECKS)


def test_every_ending_has_an_entry_and_no_entry_is_of_another() -> None:
    rows = [row.split("|")[1:3] for row in read_between(TROUBLE, "endings").strip().splitlines()[2:]]
    assert {word for status, _ in rows for word in re.findall(r"`(\w+)`", status)} == set(get_args(Status))
    listed = {word for _, code in rows for word in re.findall(r"`([\w…]+)`", code)}
    assert listed == find_codes()


def find_codes() -> set[str]:
    """The codes that an ending can have, with … where a part of it varies."""
    outcome = (PACKAGE / "outcome.py").read_text()
    calls = re.findall(r"_errored\(\s*f,([^)]*)\)", outcome)
    named = [name for call in calls for name in re.findall(r'"(\w+)"', call)]
    told = [
        code
        for path in [
            PACKAGE / "outcome.py",
            *(path for folder in ("gateway", "chat_model", "agent") for path in (PACKAGE / folder).glob("*.py")),
        ]
        for code in re.findall(r'(?:code=|GatewayFailure\()f?"([^"]+)"', path.read_text())
    ]
    return {re.sub(r"\{.*", "…", code) for code in [*named, *told]}


def test_every_variable_is_listed_and_none_that_nothing_reads() -> None:
    read = set()
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.sh"), *ROOT.glob("compose*.yml")]:
        read |= set(re.findall(r"\bSANDBOX_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    for prefix, options in PREFIXES.items():
        read |= {f"{prefix}_{option.name.upper()}" for option in fields(options)}
    listed = re.findall(r"^\| `(SANDBOX_\w+)` \|", SETTINGS.read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == read - INTERNAL - STEMS


@pytest.mark.parametrize("options", PREFIXES.values(), ids=lambda options: options.__name__)
def test_the_limits_are_those_that_there_are(options: type) -> None:
    prefix = next(name for name, other in PREFIXES.items() if other is options)
    rows = re.findall(rf"^\| `{prefix}_(\w+)` \| `(\w+)` \|", SETTINGS.read_text(), re.MULTILINE)
    assert [field for _, field in rows] == [option.name for option in fields(options)]
    assert all(variable == field.upper() for variable, field in rows)


def test_every_promise_names_a_test_that_there_is() -> None:
    rows = read_between(DOCS / "security.md", "promises").strip().splitlines()[2:]
    assert len(rows) > 10
    for row in rows:
        shown = re.findall(r"\[([^\]]+)\]\(\.\./(tests/[\w/]+\.py)\)", row)
        assert shown, row
        for words, path in shown:
            assert f"def test_{words.replace(' ', '_')}(" in (ROOT / path).read_text(), words


def test_the_figures_on_performance_are_those_that_were_measured() -> None:
    page, measured = (DOCS / "performance.md").read_text(), (DOCS / "benchmarks.md").read_text()
    figures = re.findall(r"\b\d+(?:\.\d+)? (?:s|ms|MiB)\b", page)
    assert len(figures) > 3
    for figure in set(figures):
        assert figure in measured, figure
    moments = re.search(r"Ours passed these moments.*?: (.*?)\.\n", measured)
    assert moments is not None
    median = dict(part.split() for part in moments[1].split(", "))
    shown = re.findall(r"^\| (\d\S*) \|", read_between(DOCS / "performance.md", "moments"), re.MULTILINE)
    assert shown == [median[name] for name in ("ready", "booted", "first_model_call", "worked", "total")]
