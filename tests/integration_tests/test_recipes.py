"""The recipes, run as their readers would run them: they print what their page shows, where it shows it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "examples" / "recipes").glob("*.py"))
PAGE = (ROOT / "docs" / "recipes.md").read_text()
SHOWN = dict(re.findall(r"recipes/(\w+)\.py\)\):\n\n```text\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.parametrize("script", RECIPES, ids=lambda script: script.stem)
def test_a_recipe_does_what_its_page_shows(script: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"recipes/{script.name}" in PAGE
    assert done.stdout == SHOWN.get(script.stem, done.stdout)
