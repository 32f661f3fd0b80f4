"""The reference knows every public name, and everything in it is described."""

from __future__ import annotations

import ast
import re
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pages import DOCS, ROOT
from pydantic import BaseModel

import langchain_sandbox
import langchain_sandbox.events
import langchain_sandbox.result
import langchain_sandbox.testing

REFERENCE = "\n".join(page.read_text() for page in sorted((DOCS / "api").glob("*.md")))
SHOWN = re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE)
# What a page shows whole, so that its names need not be listed one by one.
WHOLE = {"langchain_sandbox.errors", "langchain_sandbox.events", "langchain_sandbox.result"}


def find_name(name: str) -> Any:
    module, _, last = name.rpartition(".")
    try:
        return import_module(name)
    except ImportError:
        return getattr(import_module(module), last)


@pytest.mark.parametrize("name", [each for each in langchain_sandbox.__all__ if not each.startswith("__")])
def test_a_public_name_is_in_the_reference(name: str) -> None:
    home = f"langchain_sandbox.{langchain_sandbox._HOMES[name]}"
    assert f"langchain_sandbox.{name}" in SHOWN or home in WHOLE & set(SHOWN)


@pytest.mark.parametrize("name", langchain_sandbox.testing.__all__)
def test_a_name_of_the_testing_module_is_in_the_reference(name: str) -> None:
    members = re.findall(r"members: \[(.*)\]", REFERENCE)
    listed = {word.strip() for line in members for word in line.split(",")}
    assert f"langchain_sandbox.testing.{name}" in SHOWN or name in listed


def test_nothing_is_shown_twice_and_all_of_it_is_there() -> None:
    assert len(SHOWN) == len(set(SHOWN))
    for name in SHOWN:
        assert find_name(name) is not None


@pytest.mark.parametrize("module", [langchain_sandbox.result, langchain_sandbox.events])
def test_every_field_says_what_it_is(module: Any) -> None:
    classes = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, BaseModel)]
    fields = {
        f"{each.__name__}.{name}": field.description
        for each in classes
        if each.__module__ == module.__name__
        for name, field in each.model_fields.items()
        if name != "type"
    }
    assert len(fields) > 10
    assert [name for name, description in fields.items() if not description] == []


def test_the_docstrings_examples_are_python() -> None:
    examples = 0
    for path in sorted((ROOT / "langchain_sandbox").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for example in re.findall(r"```python\n(.*?)```", ast.get_docstring(node) or "", re.DOTALL):
                compile(
                    textwrap.dedent(example), str(path.relative_to(ROOT)), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                )
                examples += 1
    assert examples > 10


def test_the_pages_examples_are_python() -> None:
    for page in sorted(Path(DOCS).rglob("*.md")):
        for example in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            compile(example, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
