"""`[tool.langchain-sandbox]` in a repository's pyproject.toml: what it may say, and what it may not reach."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from langchain_sandbox.engine.images.recipe import Recipe
from langchain_sandbox.engine.images.table import ProjectTable, read_project_table
from langchain_sandbox.errors import SandboxConfigError

HEAD = "[tool.langchain-sandbox]\n"


def read(folder: Path, content: str) -> ProjectTable | None:
    (folder / "pyproject.toml").write_text(content)
    return read_project_table(folder)


def test_an_image(tmp_path: Path) -> None:
    table = read(tmp_path, HEAD + 'image = "registry.example:5000/team/sandbox:3"\n')
    assert table == ProjectTable(path=tmp_path / "pyproject.toml", image="registry.example:5000/team/sandbox:3")


def test_a_recipe_with_paths_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "req").mkdir()
    (tmp_path / "req/dev.txt").write_text("pytest\n")
    content = 'requirements = ["req/dev.txt"]\napt = ["jq"]\nnpm = ["vitest"]\nfrom = "company/python:3.12"\n'
    table = read(tmp_path, HEAD + content)
    assert table is not None
    assert table.recipe == Recipe(
        requirements={"install-0.txt": b"pytest\n"}, apt=("jq",), npm=("vitest",), base="company/python:3.12"
    )


@pytest.mark.parametrize(
    "content",
    ["", "[tool.other]\nx = 1\n", HEAD, HEAD + "apt = []\n", "# langchain-sandbox\ntool = 3\n", "not TOML at all ["],
)
def test_no_table_is_no_table(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) is None


def test_no_file_is_no_table(tmp_path: Path) -> None:
    assert read_project_table(tmp_path) is None
    assert read_project_table(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (HEAD + "imgae = 'x'\n", "there is no key 'imgae'; there are image, from, requirements, apt, npm."),
        (HEAD + "image = 3\n", "image is the name of an image, not 3."),
        (HEAD + "image = ''\n", "image is the name of an image, not ''."),
        (HEAD + "image = 'a b'\n", "image: 'a b' is not an image's name"),
        (HEAD + "from = ['x']\n", "from is the name of an image, not ['x']."),
        (HEAD + "apt = 'jq'\n", "apt is a list of texts, not 'jq'."),
        (HEAD + "apt = [1]\n", "apt is a list of texts, not [1]."),
        (HEAD + "apt = ['jq', '']\n", "apt is a list of texts"),
        (HEAD + "apt = ['-x']\n", "apt: '-x' is not a Debian package"),
        (HEAD + "npm = ['a;b']\n", "npm: 'a;b' is not an npm package"),
        (HEAD + "requirements = ['absent.txt']\n", "requirements: The requirements file "),
        (HEAD + "requirements = ['../outside.txt']\n", "is outside of"),
        (HEAD + "requirements = ['/etc/hostname']\n", "is outside of"),
        (HEAD + "image = 'x'\napt = ['jq']\n", "image names a finished image, so apt has nothing to be put into."),
        ("tool.langchain-sandbox = 3\n", "it is a table, not 3."),
        (HEAD + "apt = [\n", "cannot be read for its [tool.langchain-sandbox]"),
    ],
)
def test_a_mistake_names_file_and_key(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "outside.txt").write_text("x\n")
    folder = tmp_path / "repository"
    folder.mkdir()
    with pytest.raises(SandboxConfigError, match=re.escape(f"{folder}/pyproject.toml")) as refused:
        read(folder, content)
    assert reason in str(refused.value)


def test_a_file_that_is_not_the_repositorys_own_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    (tmp_path / "outside.toml").write_text(HEAD + "image = 'x'\n")
    (folder / "pyproject.toml").symlink_to("../outside.toml")
    assert read_project_table(folder) is None


def test_a_pipe_does_not_keep_a_run_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pyproject.toml")
    assert read_project_table(tmp_path) is None
