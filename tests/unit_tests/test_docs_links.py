"""Every link of the documents leads somewhere, by the rules of whoever shows them: a forge, or the site."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pages import DOCS, PAGES, ROOT, name, read_prose

_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def find_links(page: Path) -> list[str]:
    prose = re.sub(r"`[^`\n]*`", "`code`", read_prose(page))
    return _LINK.findall(prose)


def find_anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges and the site make them."""
    seen: Counter[str] = Counter()
    anchors = set()
    for heading in re.findall(r"^#{1,6} (.+)$", read_prose(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        anchors.add(f"{anchor}_{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in find_links(page):
        if "://" in link:
            parts = urlsplit(link)
            assert parts.scheme == "https", link
            assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc), link
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in find_anchors(target), link


def test_every_page_can_be_reached_from_a_first_one() -> None:
    pages = {page.resolve() for page in PAGES}
    reached, waiting = set(), [ROOT / "README.md", DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        links = {(page.parent / link.partition("#")[0]).resolve() for link in find_links(page) if "://" not in link}
        waiting += links & pages
    assert {name(page) for page in pages - reached} == set()
