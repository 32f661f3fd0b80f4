"""The wheel, installed by pip outside the checkout: `langchain-sandbox build`, then `langchain-sandbox run`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from support import make_repository, say, write

from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.testing import ScriptedModel

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """The command of an environment that has the wheel, and of what it depends on what the tests' own has."""
    hatchling = pytest.importorskip("hatchling.builders.wheel")
    (wheel,) = hatchling.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", wheel], check=True, capture_output=True)
    # As a plain folder on the path: the checkout, which is installed there by a .pth file, is not seen.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / f"lib/{version}/site-packages/dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin/langchain-sandbox"


def run(command: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(command), *arguments],
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stderr)
    return done


def test_the_wheel_builds_the_image_and_runs_a_task(command: Path, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "somewhere/repository", {"a.txt": "a\n"})
    where = subprocess.run(
        [str(command.parent / "python"), "-c", "import langchain_sandbox; print(langchain_sandbox.__file__)"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(command.parents[1]))
    # The same image as the checkout's: nothing that goes in is missing from the wheel.
    assert run(command, "build", cwd=tmp_path).stdout == f"{image_tag()}\n"
    with ScriptedModel([write("b.txt", "b\n"), say("Written.")]) as model:
        arguments = ("run", "Write b.txt.", "--workspace", str(repository), "--json")
        done = run(command, *arguments, cwd=tmp_path, SANDBOX_MODEL_BASE_URL=model.endpoint.base_url)
    assert done.returncode == 0, done.stderr
    result = SandboxResult.model_validate_json(done.stdout)
    assert (result.text, [file.path for file in result.files]) == ("Written.", ["b.txt"])
    assert not (repository / "b.txt").exists()
