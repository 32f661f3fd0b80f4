"""What a user has told git, as far as it matters inside: a name for commits, line ends, modes, and what is ignored."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from langchain_sandbox.workspace.git import find_git_path, git

_IDENTITY = ("user.name", "user.email")
_SETTINGS = ("core.autocrlf", "core.eol", "core.filemode")
_RULES = "core.excludesfile"
_WORD = re.compile(r"[A-Za-z]{1,16}")
_MAX_RULES = 64 * 1024


def read_settings(root: Path) -> dict[str, str]:
    """All settings that count here, by their names in lower case.

    Raises:
        GitError: If git waits for what will never come.
    """
    names = "|".join(name.replace(".", r"\.") for name in (*_IDENTITY, *_SETTINGS, _RULES))
    told = git(root, "config", "-z", "--show-scope", "--get-regexp", f"^({names})$", check=False)
    parts = told.decode("utf-8", "replace").split("\0")
    settings = {}
    for scope, record in zip(parts[::2], parts[1::2], strict=False):
        key, _, value = record.partition("\n")
        # A file that the repository itself names could be any secret of the host's.
        if value.strip() and (key != _RULES or scope in {"system", "global"}):
            settings[key] = value.strip()
    return settings


def pick_settings(settings: dict[str, str]) -> dict[str, str]:
    """Those of them that go in: a name and an address as they are, else single words. Pure."""
    return {
        key: value
        for key, value in settings.items()
        if key in _IDENTITY or (key in _SETTINGS and _WORD.fullmatch(value))
    }


def read_rules(root: Path, *, settings: dict[str, str] | None = None, exclude: Path | None = None) -> str:
    """The ignore rules of the repository and of the user that are in no file of the tree.

    Args:
        root: A folder of the repository.
        settings: Name the user's own file, where it is not in its usual place.
        exclude: The repository's own file, if it is known where that is.
    """
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    chosen = (settings or {}).get(_RULES) or f"{base}/git/ignore"
    own = exclude or find_git_path(root, "info/exclude")
    found = []
    # The repository's own is no link: it, too, could lead to a secret.
    for path, follow in ((chosen, 0), (str(own), os.O_NOFOLLOW)):
        with suppress(OSError, ValueError, RuntimeError):
            descriptor = os.open(Path(path).expanduser(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | follow)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
                found.append(file.read(_MAX_RULES).decode("utf-8", "replace"))
    return "\n".join(found)
