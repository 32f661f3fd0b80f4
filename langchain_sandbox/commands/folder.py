"""Which commands there are: the repository's own, the operator's, and those that come with the package."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.commands.command import Command, as_tool_name
from langchain_sandbox.commands.declaration import parse_command
from langchain_sandbox.errors import CommandError
from langchain_sandbox.untrusted import clean_name, show_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DEFAULTS = Path(__file__).parent / "defaults"
REPOSITORY_FOLDERS = (".opencode/commands", ".opencode/command")
MAX_SIZE = 64 * 1024
MAX_FILES = 200
MAX_SECONDS = 1.0
"""Of the processor's time, for one repository; a thousandth of it is usual for a file."""

_MAX_ENTRIES = 2000
_MAX_DEPTH = 4
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a link or a fifo in a file's place is not a command


def load_commands(folders: Iterable[Path]) -> tuple[dict[str, Command], list[CommandError]]:
    """Read all commands in some folders, nested ones included; of two with one name the earlier folder's counts.

    Args:
        folders: Where to look; those that are not there are passed over.

    Returns:
        The commands by name, and what is wrong with the files that cannot be used. Such a file keeps its name: no
        later folder's command runs in its stead.
    """
    return _load([(folder,) for folder in folders])


def load_repository_commands(
    root: Path | None, *, extra: Iterable[Path] = ()
) -> tuple[dict[str, Command], list[CommandError]]:
    """Read a repository's own commands, then others, then those that come with the package.

    Args:
        root: The repository. Its `.opencode/commands` and `.opencode/command` are one: a name may be in them once.
            Of a folder inside a repository, its own come before those of the repository's top. `None` for none.
        extra: More folders, by falling rank.

    Returns:
        As `load_commands`.

    Example:
        ```python
        commands, faults = load_repository_commands(Path("repository"))
        for fault in faults:
            print(fault)  # repository/.opencode/commands/deploy.md:3: 'timeout' must be seconds, …
        ```
    """
    own: list[list[Path]] = []
    faults: list[CommandError] = []
    for place in _find_places(root):
        folders, refused = _own_folders(place)
        own.append(folders)
        faults += refused
    commands, others = _load([*own, *((folder,) for folder in extra), (DEFAULTS,)])
    return commands, faults + others


def _find_places(root: Path | None) -> list[Path]:
    """A folder, and the top of the repository that it is in."""
    if root is None:
        return []
    top = next((folder for folder in (root, *root.absolute().parents) if (folder / ".git").exists()), root)
    return [root] if top == root else [root, top]


def _own_folders(root: Path) -> tuple[list[Path], list[CommandError]]:
    """The repository's folders, as far as they are in the repository: a link would have others' files read."""
    folders, faults = [], []
    for folder in (root / name for name in REPOSITORY_FOLDERS):
        if folder.is_symlink() or folder.parent.is_symlink():
            if folder.exists():
                msg = "a repository's commands are not read through a link; put the folder itself there"
                faults.append(CommandError(msg, _show(folder)))
        else:
            folders.append(folder)
    return folders, faults


def _load(ranks: Iterable[Sequence[Path]]) -> tuple[dict[str, Command], list[CommandError]]:
    commands: dict[str, Command] = {}
    faults: list[CommandError] = []
    taken: set[str] = set()
    for folders in ranks:
        found: dict[str, list[Command | CommandError]] = {}
        until = time.thread_time() + MAX_SECONDS
        for folder in folders:
            for name, command in _read_folder(folder, until):
                found.setdefault(as_tool_name(name), []).append(command)
        for tool_name, rivals in found.items():
            faults.extend(rival for rival in rivals if isinstance(rival, CommandError))
            faults.extend(_clash(rivals, tool_name))
            if len(rivals) == 1 and tool_name not in taken:
                commands.update((rival.name, rival) for rival in rivals if isinstance(rival, Command))
        taken.update(found)
    return commands, faults


def _clash(rivals: Sequence[Command | CommandError], tool_name: str) -> list[CommandError]:
    """What is wrong with commands that would be one tool: all of them, since which one is meant is anybody's guess."""
    sources = [rival.source if isinstance(rival, Command) else rival.path for rival in rivals]
    others = sources[1:] + sources[:1] if len(sources) > 1 else []
    return [
        CommandError(f"'{tool_name}' would be its name as a tool, and that of {other} too; rename one", source)
        for source, other in zip(sources, others, strict=False)
    ]


def _read_folder(folder: Path, until: float) -> Iterator[tuple[str, Command | CommandError]]:
    """Every command of a folder by its name, or what is wrong with it; when the time is up, that."""
    try:
        paths = _list(folder)
    except CommandError as error:
        yield error.path, error
        return
    for path in paths:
        name = path.relative_to(folder).as_posix().removesuffix(".md")
        try:
            if time.thread_time() > until:
                msg = f"this was not read: the files before it took {MAX_SECONDS:g} s"
                raise CommandError(msg, _show(path))  # noqa: TRY301 - to be told like any other fault
            yield name, parse_command(name, _read(path), source=_show(path))
        except CommandError as error:
            yield name, error


def _list(folder: Path) -> list[Path]:
    """The Markdown files of a folder and those below it, in order.

    Raises:
        CommandError: If there are too many, or too deep: then none is read, rather than some of them.
    """
    found: list[Path] = []
    waiting = [(folder, 0)]
    entries = 0
    while waiting:
        current, depth = waiting.pop()
        try:
            with os.scandir(current) as listing:
                for entry in listing:
                    entries += 1
                    path = current / entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((path, depth + 1))
                    elif entry.name.endswith(".md"):
                        found.append(path)
                    if entries > _MAX_ENTRIES or len(found) > MAX_FILES or depth > _MAX_DEPTH:
                        msg = f"at most {MAX_FILES} commands are read from one folder, {_MAX_DEPTH} folders deep"
                        raise CommandError(msg, _show(folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            msg = f"this folder cannot be read: {error.strerror}"
            raise CommandError(msg, _show(current)) from error
    return sorted(found)


def _read(path: Path) -> bytes:
    try:
        with os.fdopen(os.open(path, _READ), "rb") as file:
            status = os.fstat(file.fileno())
            # The size is looked at first: of a file of a gigabyte not one byte is read.
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_SIZE:
                content = file.read(MAX_SIZE + 1)
                if len(content) <= MAX_SIZE:
                    return content
    except OSError as error:
        msg = f"this cannot be read: {'it is a link' if path.is_symlink() else error.strerror}"
        raise CommandError(msg, _show(path)) from error
    msg = f"a command is a plain file of at most {MAX_SIZE} bytes"
    raise CommandError(msg, _show(path))


def _show(path: Path) -> str:
    return show_controls(clean_name(str(path))).replace("\n", "\\n")
