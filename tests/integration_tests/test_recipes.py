"""Each recipe runs as a user runs it, and prints what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "recipes"
RECIPES = sorted(path for path in FOLDER.glob("*.py") if '__name__ == "__main__"' in path.read_text())


def play(name: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(FOLDER.parents[1])
    done = subprocess.run(
        [sys.executable, str(FOLDER / name)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_retry_policy() -> None:
    said = play("retry_policy.py")
    assert said.count("SandboxUnavailableError: No container engine answers") == 1
    assert "completed: The greeting is fine." in said
    assert said.count("SandboxConfigError: ") == 1
    assert "at the first attempt" in said


def test_timeout_policy() -> None:
    said = play("timeout_policy.py")
    assert "completed: All steps done." in said
    assert int(re.findall(r"It took (\d+) s", said)[0]) > 15
    assert "Its container goes with it." in said


def test_cache_policy() -> None:
    said = play("cache_policy.py")
    runs = re.findall(r"\[run (\w+)\]", said)
    assert [runs.index(run) for run in runs] == [0, 0, 2, 0]
    assert said.count("English") == 3
    assert said.count("French") == 1


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_no_recipe_is_left_out(recipe: Path) -> None:
    assert f"test_{recipe.stem}" in globals()
