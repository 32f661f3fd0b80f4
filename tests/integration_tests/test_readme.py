"""The README's programs run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support import make_repository, say, write

from langchain_sandbox.testing import ScriptedModel

README = Path(__file__).parents[2] / "README.md"


def run(number: int, tmp_path: Path, endpoint: str, before: str = "") -> str:
    """Run one of the programs, and return what it prints."""
    programs = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(programs) == 2
    done = subprocess.run(
        [sys.executable, "-c", before + programs[number]],
        cwd=tmp_path,
        env=os.environ | {"SANDBOX_MODEL_BASE_URL": endpoint},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "SANDBOX_MODEL_BASE_URL"}
    command = [sys.executable, README.parent / "examples" / "quickstart.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    (shown,) = re.findall(r"```text\n(.*?)```", README.read_text(), re.DOTALL)
    assert strip_figures(done.stdout) == strip_figures(shown)


def strip_figures(printed: str) -> list[str]:
    """Lines without what is another in each run: times, names of runs, where the command is, and who came first."""
    text = re.sub(r"\S*langchain-sandbox show", "langchain-sandbox show", printed)
    figures = re.compile(r"\b[0-9a-f]{12}\b|(?<=\[) *[\d.]+|[\d.]+")  # in brackets they are padded to a width
    return sorted(figures.sub("#", line) for line in text.splitlines())


def test_the_example_in_the_readme(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "path" / "to" / "repository", {"a.txt": "a\n"})
    with ScriptedModel([write("b.txt", "b\n"), say("It passes now.")]) as model:
        printed = run(0, tmp_path, model.endpoint.base_url)
    assert printed == "completed It passes now.\n"
    assert (repository / "b.txt").read_text() == "b\n"


def test_the_example_for_graphs_in_the_readme(tmp_path: Path) -> None:
    make_repository(tmp_path / "path" / "to" / "repository", {"a.txt": "a\n"})
    with ScriptedModel([write("b.txt", "b\n"), say("It passes now.")]) as model:
        url = model.endpoint.base_url
        before = f"import langchain_openai\nmodel = langchain_openai.ChatOpenAI(base_url={url!r}, api_key='none')\n"
        printed = run(1, tmp_path, url, before=before)
    assert printed == "completed\n"
