"""The README's program runs as it is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support import make_repository, say, write

from langchain_sandbox.testing import ScriptedModel

README = Path(__file__).parents[2] / "README.md"


def test_the_example_in_the_readme(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    repository = make_repository(tmp_path / "path" / "to" / "repository", {"a.txt": "a\n"})
    with ScriptedModel([write("b.txt", "b\n"), say("It passes now.")]) as model:
        environment = os.environ | {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
    assert (done.stdout, done.stderr) == ("completed It passes now.\n", "")
    assert (repository / "b.txt").read_text() == "b\n"
