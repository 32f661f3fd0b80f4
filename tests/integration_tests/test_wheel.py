"""What is released: a wheel that works when pip has installed it elsewhere, and an sdist that makes the same wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from support import make_repository, say, write

from langchain_sandbox._version import __version__
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.testing import ScriptedModel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    (sdist,) = SdistBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return {"wheel": Path(wheel), "sdist": Path(sdist)}


@pytest.fixture(scope="session")
def command(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that has the wheel and what it asks for, and nothing of the tests' own."""
    folder = tmp_path_factory.mktemp("elsewhere") / "environment"
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, str(built["wheel"])], check=True, capture_output=True, env=clean_environ())
    return folder / "bin/langchain-sandbox"


def clean_environ() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def run(command: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(command), *arguments],
        cwd=cwd,
        env=clean_environ() | environment,
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
        env=clean_environ(),
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


def test_what_depends_on_the_wheel_is_type_checked_against_it(command: Path, tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(
        "from langchain_sandbox import Sandbox, SandboxTool\n"
        "reveal_type(Sandbox().run('x').patch)\n"
        "reveal_type(SandboxTool().name)\n"
        "Sandbox(workspace=1)\n"
    )
    words = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(command.with_name("python"))]
    done = subprocess.run(
        [*words, "--cache-dir", str(tmp_path / "cache"), "caller.py"],
        cwd=tmp_path,
        env=clean_environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    assert told[:2] == ['note: Revealed type is "str | None"', 'note: Revealed type is "str"'], done.stdout
    assert told[2].startswith('error: Argument "workspace" to "Sandbox" has incompatible type "int"')


def test_the_sdist_makes_the_same_wheel(built: dict[str, Path], tmp_path: Path) -> None:
    with tarfile.open(built["sdist"]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (again,) = WheelBuilder(str(source)).build(directory=str(tmp_path / "again"), versions=["standard"])
    assert read_wheel(Path(again)) == read_wheel(built["wheel"])
    assert {"tests", "docs", "examples", "compose.headless.yml", "Makefile", "CHANGELOG.md", "LICENSE"} <= {
        item.name for item in source.iterdir()
    }


def test_the_wheel_says_what_it_is(built: dict[str, Path]) -> None:
    inside = read_wheel(built["wheel"])
    assert {"py.typed", "engine/Dockerfile", "agent/main.py", "commands/defaults/refactor-audit.md"} <= {
        name.removeprefix("langchain_sandbox/") for name in inside
    }
    (metadata,) = (content.decode() for name, content in inside.items() if name.endswith("/METADATA"))
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nLicense-Expression: MIT\n" in metadata
    assert (ROOT / "CHANGELOG.md").read_text().count(f"\n## {__version__}") == 1
    # The version stands in one place.
    assert __version__ not in (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[0]


def read_wheel(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
