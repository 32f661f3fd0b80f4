"""Which files of the tree the user's own git would run or obey, because its settings name them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from langchain_sandbox.workspace.git import git

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.workspace.outbound.risks import Risk

_HOOKS = "core.hookspath"
# Settings whose values are programs, or files with more settings.
_OBEYED = re.compile(
    r"""
      alias\..* | credential\..* | filter\..* | gpg\..* | pager\..* | include(?:if\..*)?\.path
    | core\.(?:askpass|editor|fsmonitor|gitproxy|hookspath|pager|sshcommand)
    | diff\.(?:external|.*\.(?:command|textconv)) | merge\..*\.driver | (?:diff|merge)tool\..*\.(?:cmd|path)
    | sequence\.editor
    """,
    re.VERBOSE,
)
_BOUNDARY = r"[\s'\"=:;|&()`$/]"


class GitSettings:
    """The settings that git has in a folder, the user's and the repository's.

    Args:
        root: The folder; it need not be a repository.
    """

    def __init__(self, root: Path) -> None:
        told = os.fsdecode(git(root, "config", "--list", "-z", check=False))
        pairs = (record.partition("\n") for record in told.split("\0"))
        self._values = [(key, value) for key, _, value in pairs if _OBEYED.fullmatch(key)]

    def find_risks(self, path: str) -> list[Risk]:
        """What git would do with a file of the tree, whatever it is called."""
        found: set[Risk] = set()
        word = re.compile(rf"(?:^|{_BOUNDARY}){re.escape(path)}(?:$|{_BOUNDARY})")
        for key, value in self._values:
            folder = value.removeprefix("./").rstrip("/")
            if key == _HOOKS and folder and path.startswith(f"{folder}/"):
                found.add("hook")
            elif word.search(value):
                found.add("version_control")
        return sorted(found)
