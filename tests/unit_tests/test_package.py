"""The package as it is installed: its names, what importing it costs, and the archived one of the same name."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import langchain_sandbox
from langchain_sandbox.engine.images.derived_dockerfile import stage_scripts
from langchain_sandbox.engine.images.package_image import image_context

ROOT = Path(__file__).parents[2]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)


@pytest.mark.parametrize("name", langchain_sandbox.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert name in dir(langchain_sandbox)
    thing = getattr(langchain_sandbox, name)
    if isinstance(thing, type):
        assert thing.__doc__


def test_a_name_that_is_not_there_is_an_ordinary_mistake() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        langchain_sandbox.nonsense  # noqa: B018 - looking is the test


def test_importing_the_package_or_the_test_model_loads_no_graph_library() -> None:
    code = "import sys, langchain_sandbox, langchain_sandbox.testing; print('langgraph' in sys.modules)"
    assert python(code).stdout.strip() == "False"


def test_the_archived_package_of_the_same_name_is_warned_of(tmp_path: Path) -> None:
    information = tmp_path / "langchain_sandbox-0.0.6.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: langchain-sandbox\nVersion: 0.0.6\n")
    code = "from langchain_sandbox import Sandbox"
    assert "pip uninstall langchain-sandbox" in python(code, PYTHONPATH=str(tmp_path)).stderr
    assert python(code).stderr == ""


def test_the_wheel_holds_what_the_image_is_made_of(tmp_path: Path) -> None:
    hatchling = pytest.importorskip("hatchling.builders.wheel")
    (wheel,) = hatchling.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.read("langchain_sandbox/engine/Dockerfile") == image_context()["Dockerfile"]
    assert "langchain_sandbox/py.typed" in names
    inside = {path.removeprefix("agent/") for path in image_context() if path.endswith(".py")} - {"__main__.py"}
    assert inside <= names
    assert {f"langchain_sandbox/engine/images/{path}" for path in stage_scripts()} <= names
    assert not any(name.startswith(("tests/", "examples/")) for name in names)
