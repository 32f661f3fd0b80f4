"""What goes into the image runs there: with the image's files, and without anything that pip installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from langchain_sandbox.engine.images.package_image import image_context


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """The folder that the image has as /opt/langchain-sandbox."""
    for name, content in image_context().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "agent"


# -I and -S as in the image: neither site-packages nor the working folder is on the path.
def run(inside: Path, code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(inside)!r})\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "module", ["agent.main", "agent.task", "compose.main", "compose.headless", "compose.interactive"]
)
def test_a_program_of_the_image_needs_the_standard_library_only(inside: Path, module: str) -> None:
    done = run(inside, f"import langchain_sandbox.{module}")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_agent_of_a_hosted_run_does_not_load_what_only_compose_needs(inside: Path) -> None:
    """The host measures the time to `ready`."""
    done = run(
        inside, "import langchain_sandbox.agent.main; print(*[n for n in sys.modules if 'langchain_sandbox' in n])"
    )
    assert set(done.stdout.split()) == {
        "langchain_sandbox",
        "langchain_sandbox.agent",
        "langchain_sandbox.agent.deadline",
        "langchain_sandbox.agent.harden",
        "langchain_sandbox.agent.main",
        "langchain_sandbox.agent.wire",
        "langchain_sandbox.link",
    }


def test_a_program_that_is_not_there_is_said(inside: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(inside), "nonsense"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "there is no program ['nonsense']\n")


def test_a_program_that_gets_away_with_the_output_holds_nobody(inside: Path) -> None:
    code = (
        "from langchain_sandbox.agent import children\n"
        "children.start_reaper()\n"
        "print(children.run(['/bin/sh', '-c', 'sleep 1; echo 1'], cwd='/', env={}))\n"
        "print(len(children.run(['/usr/bin/head', '-c', '1000000', '/dev/zero'], cwd='/', env={})))\n"
        "try: children.run(['/bin/sh', '-c', 'setsid sleep 5 & echo 1'], cwd='/', env={}, timeout=0.2)\n"
        "except OSError as error: print(error)"
    )
    done = run(inside, code)
    assert done.stdout.splitlines() == [
        "b'1\\n'",
        "1000000",
        "/bin/sh -c setsid sleep 5 & echo 1 left a program behind that holds its output open",
    ]
    assert done.stderr == ""
