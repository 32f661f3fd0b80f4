"""The site builds without a warning, and what is built fetches nothing from anywhere."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

# What a browser loads by itself, in contrast to a link that a reader may follow.
_LOADED = re.compile(r"<(?:script|img|iframe|source|video|audio|embed|link)\b[^>]*?\b(?:src|href)=[\"']?([^\"'\s>]+)")
_IN_STYLE = re.compile(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environ = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        for place in _LOADED.findall(page.read_text(encoding="utf-8")):
            assert not re.match(r"(?:\w+:)?//", place), f"{page.name}: {place}"
    for style in site.rglob("*.css"):
        assert _IN_STYLE.findall(style.read_text(encoding="utf-8")) == [], style.name


def test_the_reference_shows_fields_and_constructors_of_pydantic(site: Path) -> None:
    result = _text(site / "api" / "result.html")
    assert "The run's name, 12 hexadecimal digits." in result
    assert "Field(" not in result
    options = _text(site / "api" / "options.html")
    assert "ModelEndpoint( base_url: str, name: str | None = None, api_key: str | None = None, " in options
    assert "SandboxTool( *, sandbox: Sandbox = Sandbox(), max_timeout: float | None = None" in _text(
        site / "api" / "agents.html"
    )


def test_a_script_that_is_linked_is_shown(site: Path) -> None:
    assert "ToolCallLimitMiddleware" in _text(site / "examples" / "recipes" / "call_limit.py.html")


def _text(page: Path) -> str:
    """A page's words, as a reader sees them."""
    body = page.read_text(encoding="utf-8").partition("<article")[2].partition("</article>")[0]
    words = html.unescape(re.sub(r"<[^>]+>", "", body))
    return re.sub(r" ([,)])", r"\1", " ".join(words.split()))
