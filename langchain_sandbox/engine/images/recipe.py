"""What a derived image is made from, read and checked; `derive` makes it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_sandbox.engine.images.requirements import read_requirements
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# Nothing that a shell or a Dockerfile would read as more than a word; and to apt-get, `git-` means to remove git.
_APT = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9]+)?([=/][A-Za-z0-9]([A-Za-z0-9.+:~-]*[A-Za-z0-9.+~])?)?")
_NPM = re.compile(r"(@[a-z0-9~][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*(@[A-Za-z0-9^~<>=*][A-Za-z0-9^~<>=*.+-]*)?")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*(@sha256:[0-9a-f]{64})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What goes into a derived image; `read_recipe` makes one.

    Args:
        requirements: Requirements files by name, as `read_requirements` gives them.
        apt: Debian packages.
        npm: npm packages.
        base: The image to stand on instead of Debian; `None` for our own image.

    Every name in it is a plain word: all of them end up in a Dockerfile.
    """

    requirements: Mapping[str, bytes] = field(default_factory=dict)
    apt: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    base: str | None = None

    def requirements_digest(self) -> str:
        """A hash over the requirements files; empty without any."""
        return digest(part for name, content in self.requirements.items() for part in (name.encode(), content))


def read_recipe(
    *,
    requirements: Iterable[Path] = (),
    apt: Iterable[str] = (),
    npm: Iterable[str] = (),
    base: str | None = None,
    within: Path | None = None,
) -> Recipe:
    """Read the files and check the names.

    Args:
        requirements: Paths of requirements files.
        apt: Debian packages, `name` or `name=version`.
        npm: npm packages, `name` or `name@version`.
        base: Name of an image made from Debian or Ubuntu.
        within: A folder that no requirements file may be outside of.

    Raises:
        SandboxConfigError: If a file cannot be used or a name is none; see `read_requirements`.

    Example:
        ```python
        read_recipe(requirements=[Path("requirements-dev.txt")], apt=["libpq5"])
        ```
    """
    return Recipe(
        requirements=read_requirements(requirements, within=within),
        # Sorted, since their order means nothing: the same packages give the same tag.
        apt=tuple(sorted({_checked(_APT, name, "a Debian package, such as libpq5 or libpq5=15.10-0") for name in apt})),
        npm=tuple(sorted({_checked(_NPM, name, "an npm package, such as typescript or vitest@3") for name in npm})),
        base=None if base is None else check_image_name(base),
    )


def check_image_name(name: str) -> str:
    """Refuse what cannot be an image's name.

    Raises:
        SandboxConfigError: If it is none.
    """
    return _checked(_IMAGE, name, "an image's name, such as registry.example/python:3.12")


def digest(parts: Iterable[bytes]) -> str:
    """A hash over these, in order; empty for nothing."""
    found = hashlib.sha256()
    several = False
    for part in parts:
        several = True
        # With its length before it, no part can pass for the end of another.
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest() if several else ""


def _checked(pattern: re.Pattern[str], name: str, what: str) -> str:
    if not pattern.fullmatch(name):
        msg = f"{name!r} is not {what}."
        raise SandboxConfigError(msg)
    return name
