"""The quickstart, from its stand-in for a model on, as somebody types it in an empty folder."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text()
FIXED = "    return sum(prices) * (100 - discount) / 100\n"


def find_blocks(mark: str) -> list[str]:
    return re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What a terminal has in which the page's steps were taken until then, with the stand-in running beside it."""
    (program,) = find_blocks("stand-in")
    assert "port=8000" in program
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "stand_in.py").write_text(program.replace("8000", str(port)))
    command = [sys.executable, "-u", "stand_in.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stand_in:
        assert stand_in.stdout is not None
        assert "answers at" in stand_in.stdout.readline()
        programs = Path(sys.executable).parent
        yield os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SANDBOX_MODEL_BASE_URL": f"http://127.0.0.1:{port}/v1",
        }
        stand_in.communicate("\n")
    assert stand_in.returncode == 0


def test_each_step_does_what_the_page_says(tmp_path: Path, environ: dict[str, str]) -> None:
    first, second = find_blocks("run")
    (program,) = find_blocks("run-python")

    def enter(*command: str, folder: Path = tmp_path) -> str:
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.search("Everything that a run needs is there|Runs should work", enter("langchain-sandbox", "doctor"))
    assert f"+{FIXED}" in enter("bash", "-ec", first)
    shop = tmp_path / "shop"
    assert {path.name for path in shop.iterdir()} == {"prices.py", "test_prices.py"}
    assert FIXED not in (shop / "prices.py").read_text()
    assert enter("bash", "-ec", second, folder=shop).endswith(FIXED)
    assert enter(sys.executable, "-c", program, folder=shop).startswith("completed - ")
