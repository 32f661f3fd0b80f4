"""The recipes for LangGraph's policies run as a user runs them, and print what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "recipes"

SAID = {
    "retry_policy": """\
[attempt] SandboxUnavailableError: No container engine answers at unix:///nowhere/docker.sock
[sandbox] completed: Three primes are below 6: 2, 3 and 5.
[attempt] SandboxConfigError: The task is empty. Say in plain words what the agent should do.
[graph]   ended by that error, at the first attempt
""",
    "timeout_policy": """\
[sandbox] completed: All is done. It took more than 15 s.
[graph]   ended: silent for 15 s
""",
    "cache_policy": """\
[sandbox] In English.
[cache]   In English.
[sandbox] In French.
[cache]   In English.
""",
}


@pytest.mark.parametrize("recipe", SAID)
def test_a_recipe_says_what_it_promises(recipe: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parents[1])}
    command = [sys.executable, str(FOLDER / f"{recipe}.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (SAID[recipe], "", 0)
