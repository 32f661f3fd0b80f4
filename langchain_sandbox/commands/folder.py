"""Which commands there are: the repository's own, the operator's, and those that come with the package."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.commands.template import CommandError, parse_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_sandbox.commands.command import Command

DEFAULTS = Path(__file__).parent / "defaults"
REPOSITORY_FOLDERS = (".opencode/commands", ".opencode/command")

_MAX_SIZE = 64 * 1024
_MAX_FILES = 500
_MAX_DEPTH = 4
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a link or a fifo in a file's place is not a command


def load_commands(folders: Iterable[Path]) -> tuple[dict[str, Command], list[str]]:
    """Read all commands in some folders, nested ones included; of two with one name the earlier folder's counts.

    Args:
        folders: Where to look; those that are not there are passed over.

    Returns:
        The commands by name, and what is wrong with the files that cannot be used.
    """
    commands: dict[str, Command] = {}
    faults: list[str] = []
    for folder in folders:
        for path in _list(folder):
            name = path.relative_to(folder).with_suffix("").as_posix()
            try:
                commands.setdefault(name, parse_command(name, _read(path), source=str(path)))
            except (CommandError, OSError) as error:
                faults.append(str(error))
    return commands, faults


def load_repository_commands(root: Path | None, *, extra: Iterable[Path] = ()) -> tuple[dict[str, Command], list[str]]:
    """All commands that a repository has."""
    own = [root / folder for folder in REPOSITORY_FOLDERS] if root is not None else []
    return load_commands([*own, *extra, DEFAULTS])


def _list(folder: Path) -> Iterator[Path]:
    found = 0
    for current, folders, names in os.walk(folder):
        depth = len(Path(current).relative_to(folder).parts)
        folders[:] = sorted(folders) if depth < _MAX_DEPTH else []
        for name in sorted(names):
            if name.endswith(".md"):
                found += 1
                if found > _MAX_FILES:
                    return
                yield Path(current, name)


def _read(path: Path) -> str:
    with os.fdopen(os.open(path, _READ), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_SIZE:
            msg = f"{path}: a command is a plain file of at most {_MAX_SIZE} bytes."
            raise CommandError(msg)
        try:
            return file.read().decode("utf-8")
        except UnicodeDecodeError as error:
            msg = f"{path}: byte {error.start} is not UTF-8."
            raise CommandError(msg) from error
