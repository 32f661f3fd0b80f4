"""What the documents say is what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from langchain_sandbox.workspace.outbound.risks import MEANINGS, REFUSED

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_floors_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    checked = [re.sub(r"langchain_sandbox\.", "", layer).replace(" : ", ", ") for layer in contracts[0]["layers"]]
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = page.partition("<!-- floors -->\n```\n")[2].partition("```")[0].splitlines()
    assert shown == checked


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


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
