"""The documents, for the tests that read them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r"^( *)(`{3,})[^\n]*\n.*?^\1\2$", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    """A page's name, as a test's id."""
    return str(page.relative_to(ROOT))


def read_prose(page: Path) -> str:
    """A page without its blocks of code, which hold no links and no headings."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def read_between(page: Path, mark: str) -> str:
    """What stands between `<!-- mark -->` and `<!-- /mark -->`."""
    text = page.read_text(encoding="utf-8")
    assert text.count(f"<!-- {mark} -->") == text.count(f"<!-- /{mark} -->") == 1, f"{page.name}: {mark}"
    return text.partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0]
