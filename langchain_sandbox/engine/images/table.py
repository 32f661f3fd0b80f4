"""`[tool.langchain-sandbox]` in a repository's `pyproject.toml`: which image its tasks run in.

Either the name of an image, or what to derive one from::

    [tool.langchain-sandbox]
    image = "registry.example/team/sandbox:3"

    [tool.langchain-sandbox]
    requirements = ["requirements-dev.txt"]     # paths beside this file
    apt = ["libpq5"]
    npm = ["typescript"]
    from = "registry.example/python:3.12"

A repository may be anybody's, so the table only ever names an image. It starts no build and no pull during a run.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_sandbox.engine.images.recipe import Recipe, check_image_name, read_recipe
from langchain_sandbox.engine.images.requirements import read_small_file
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

TABLE = "[tool.langchain-sandbox]"
FILE = "pyproject.toml"

_LISTS = ("requirements", "apt", "npm")
_NAMES = ("image", "from")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectTable:
    """What a repository asks for: either is `None`.

    Args:
        path: The file that says so.
        image: Name of an image.
        recipe: What to derive an image from.
    """

    path: Path
    image: str | None = None
    recipe: Recipe | None = None


def read_project_table(workspace: Path) -> ProjectTable | None:
    """Read the table of the `pyproject.toml` in a folder, and the requirements files that it names.

    Args:
        workspace: The repository. No file outside of it is read.

    Returns:
        The table; `None` if there is no such file or no table in it, or if the table is empty.

    Raises:
        SandboxConfigError: If the table has a key that means nothing or a value of the wrong kind, or names a file
            that cannot be used. The message names file and key.

    Example:
        ```python
        table = read_project_table(Path("path/to/repository"))
        ```
    """
    path = workspace / FILE
    try:
        if not path.resolve(strict=True).is_relative_to(workspace.resolve()):
            return None  # a link out of the repository: what is there is not the repository's word
        content = read_small_file(path)
    except (OSError, RuntimeError):
        return None
    if b"langchain-sandbox" not in content:
        return None  # so a file that is broken, perhaps the task's very subject, keeps nobody from running
    try:
        tool = tomllib.loads(content.decode("utf-8")).get("tool", {})
    except ValueError as error:
        msg = f"{path} cannot be read for its {TABLE}: {error}. Mend it, or pass Sandbox(image=...)."
        raise SandboxConfigError(msg) from error
    table = tool.get("langchain-sandbox") if isinstance(tool, dict) else None
    if table is None or table == {}:
        return None
    return _check(table, path, workspace)


def _check(table: Any, path: Path, workspace: Path) -> ProjectTable | None:  # noqa: ANN401 - whatever TOML holds
    where = f"{path}, {TABLE}: "
    if not isinstance(table, dict):
        msg = f"{where}it is a table, not {table!r}."
        raise SandboxConfigError(msg)
    for key, value in table.items():
        if key not in (*_LISTS, *_NAMES):
            msg = f"{where}there is no key {key!r}; there are {', '.join((*_NAMES, *_LISTS))}."
            raise SandboxConfigError(msg)
        if key in _NAMES and not (isinstance(value, str) and value):
            msg = f"{where}{key} is the name of an image, not {value!r}."
            raise SandboxConfigError(msg)
        if key in _LISTS and not (isinstance(value, list) and all(isinstance(item, str) and item for item in value)):
            msg = f"{where}{key} is a list of texts, not {value!r}."
            raise SandboxConfigError(msg)
    others = [key for key in table if key != "image" and table[key]]
    if "image" in table:
        if others:
            msg = f"{where}image names a finished image, so {others[0]} has nothing to be put into. Give one of them."
            raise SandboxConfigError(msg)
        return ProjectTable(path=path, image=_explained(f"{where}image: ", partial(check_image_name, table["image"])))
    if not others:
        return None
    return ProjectTable(path=path, recipe=_read_recipe(table, where, workspace))


def _read_recipe(table: dict[str, Any], where: str, workspace: Path) -> Recipe:
    whole = Recipe()
    for key, value in table.items():
        option = {"from": "base"}.get(key, key)
        given = [workspace / item for item in value] if key == "requirements" else value
        # One at a time, so that the message can name the key.
        arguments: dict[str, Any] = {option: given, "within": workspace}
        part = _explained(f"{where}{key}: ", partial(read_recipe, **arguments))
        whole = replace(whole, **{option: getattr(part, option)})
    return whole


def _explained(where: str, read: Callable[[], T]) -> T:
    """What `read` gives; its error gets the place in front."""
    try:
        return read()
    except SandboxConfigError as error:
        msg = f"{where}{error}"
        raise SandboxConfigError(msg) from error
