"""What the documents say is what the code does."""

from __future__ import annotations

import re
import tomllib

import pytest
from pages import PAGES, ROOT

from langchain_sandbox.commands import declaration, schema
from langchain_sandbox.commands.folder import DEFAULTS, load_commands
from langchain_sandbox.workspace.outbound.risks import MEANINGS, REFUSED


def test_the_floors_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    checked = [re.sub(r"langchain_sandbox\.", "", layer).replace(" : ", ", ") for layer in contracts[0]["layers"]]
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = page.partition("<!-- floors -->\n```\n")[2].partition("```")[0].splitlines()
    assert shown == checked


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        # Sentences say "make" too; commands stand in backticks or indented.
        named = re.findall(r"(?:`| {4})make ([a-z-]+)", page.read_text())
        assert set(named) <= targets, page.name


@pytest.mark.parametrize(("name", "refused"), [("refused", True), ("shown", False)])
def test_the_risks_that_are_listed_are_those_that_there_are(name: str, refused: bool) -> None:  # noqa: FBT001 - the question
    page = (ROOT / "docs" / "workspace.md").read_text()
    rows = page.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0].splitlines()[2:]
    listed = {risk for risk in MEANINGS if (risk in REFUSED) is refused}
    assert rows == [f"| `{risk}` | {MEANINGS[risk]} |" for risk in sorted(listed)]


def test_the_keys_and_keywords_of_a_command_are_those_that_are_taken() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    table = page.partition("| key | what it says |\n")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(declaration._KEYS)
    keywords = page.partition("<!-- keywords -->\n")[2].partition("<!-- /keywords -->")[0]
    assert re.findall(r"`(\w+)`", keywords) == sorted({*schema._INNER, *schema._PLAIN})
    assert tuple(re.findall(r"`(\w+)`", table.splitlines()[2]))[1:] == declaration.AGENTS
    defaults = re.findall(r"^\| `/([\w-]+)` \|", page, re.MULTILINE)
    assert sorted(defaults) == sorted(load_commands([DEFAULTS])[0])


def test_the_example_of_a_command_is_one() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    example = page.partition("```markdown\n")[2].partition("```\n")[0]
    command = declaration.parse_command("callers", example.encode(), source="docs/commands.md")
    assert command.shell == ("git grep -n $1",)
    assert [argument.name for argument in command.arguments] == ["function", "depth"]
