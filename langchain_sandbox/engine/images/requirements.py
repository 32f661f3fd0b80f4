"""Requirements files, read on the host with everything they include, so that a build needs nothing else of it."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NoReturn

from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_FILE = 1024 * 1024
MAX_FILES = 100

_COMMENT = re.compile(r"(^|\s+)#.*$")
_INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)(?:\s*=\s*|\s+|(?<=-[rc]))(\S.*)")
_EDITABLE = re.compile(r"(-e|--editable)\b")
_PLACE = re.compile(r"(-f|--find-links|-i|--index-url|--extra-index-url)(?:\s*=\s*|\s+)(\S+)")
_REMOTE = re.compile(r"(?:\w+\+)?(?:https?|ssh)://", re.IGNORECASE)
_ARCHIVE = re.compile(r"\.(whl|zip|tar\.gz|tgz|tar\.bz2)$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{\w+\}")


def read_requirements(paths: Iterable[Path], *, within: Path | None = None) -> dict[str, bytes]:
    r"""Read requirements files and what they include with `-r` and `-c`.

    Args:
        paths: The files to install from.
        within: A folder that no file may be outside of, links followed; for paths that a repository gave.

    Returns:
        Contents by name: `install-0.txt` and so on for `paths`, then `include-2.txt` and so on for what they
        include; includes point to these names. Comments and empty lines are gone.

    Raises:
        SandboxConfigError: If a file cannot be read, is bigger than 1 MiB or outside of `within`, or if a line
            could not work in a build: a local path, an editable install, an include from the network, a
            variable. The message names file and line.

    Example:
        ```python
        read_requirements([Path("requirements-dev.txt")])  # {"install-0.txt": b"pytest\n"}
        ```
    """
    queue = list(dict.fromkeys(_place(path, within=within, origin="") for path in paths))
    names = {path: f"install-{number}.txt" for number, path in enumerate(queue)}
    files: dict[str, bytes] = {}
    for path in queue:  # it grows while includes are found
        lines = []
        for number, line in _logical_lines(path):
            where = f"{path}, line {number}: "
            include = _INCLUDE.fullmatch(line)
            if include is None:
                _check(line, where)
                lines.append(line)
                continue
            option, target = include[1], include[2].strip().strip("\"'")
            if "://" in target:
                _refuse(where, line, "includes a file from the network; save it beside this one and include that")
            found = _place(path.parent / target, within=within, origin=where)
            if found not in names:
                names[found] = f"include-{len(names)}.txt"
                queue.append(found)
            if len(names) > MAX_FILES:
                _refuse(where, line, f"is one include too many; at most {MAX_FILES} files are read")
            lines.append(f"{option} {names[found]}")
        files[names[path]] = "".join(f"{line}\n" for line in lines).encode()
    return files


def read_small_file(path: Path, *, limit: int = MAX_FILE) -> bytes:
    """Read a file that may be somebody else's: never a device, a pipe or something endless.

    Raises:
        OSError: If it cannot be read, is no ordinary file, or has more than `limit` bytes.
    """
    # A pipe without a writer would keep a plain open() waiting for ever.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            msg = "it is no ordinary file"
            raise OSError(msg)
        content = file.read(limit + 1)
    if len(content) > limit:
        msg = f"it has more than {limit} bytes"
        raise OSError(msg)
    return content


def _place(path: Path, *, within: Path | None, origin: str) -> Path:
    """The real path, which must be inside of `within`."""
    try:
        real = path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError) as error:
        msg = f"{origin}The requirements file {path} cannot be read: {getattr(error, 'strerror', None) or error}."
        raise SandboxConfigError(msg) from error
    if within is not None and not real.is_relative_to(within.resolve()):
        msg = f"{origin}The requirements file {path} is outside of {within}; only the repository's own are read."
        raise SandboxConfigError(msg)
    return real


def _logical_lines(path: Path) -> list[tuple[int, str]]:
    """Lines with their numbers, as pip sees them: joined at backslashes, without comments and empty ones."""
    try:
        text = read_small_file(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = "it is not UTF-8" if isinstance(error, ValueError) else getattr(error, "strerror", None) or str(error)
        msg = f"The requirements file {path} cannot be read: {reason}."
        raise SandboxConfigError(msg) from error
    lines: list[tuple[int, str]] = []
    held, began = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        began = began or number
        if line.endswith("\\") and not _COMMENT.search(line):
            held += line[:-1]
            continue
        whole = _COMMENT.sub("", held + line).strip()
        if whole:
            lines.append((began, whole))
        held, began = "", 0
    if held.strip():
        lines.append((began, held.strip()))
    return lines


def _check(line: str, where: str) -> None:
    """Refuse a line that means something of this machine, which a build does not see."""
    if _VARIABLE.search(line):
        advice = "set PIP_INDEX_URL or PIP_EXTRA_INDEX_URL for an index with a password"
        _refuse(where, line, f"uses a variable, and a build has none of this machine's; {advice}", hide=True)
    if _EDITABLE.match(line):
        _refuse(where, line, "is an editable install; the project itself is in the sandbox's workspace already")
    place = _PLACE.fullmatch(line)
    if place is not None and not _REMOTE.match(place[2]):
        _refuse(where, line, "is a folder of this machine, which a build does not see; name one by http or https")
    if line.startswith("-"):
        return
    # The specifier ends where the marker or pip's own options begin.
    specifier = re.split(r"\s;|;\s|\s--", line, maxsplit=1)[0].strip()
    name, at, address = specifier.partition("@")
    target = address.strip() if at and not _REMOTE.match(specifier) and "/" not in name else specifier
    remote = bool(_REMOTE.match(target))
    local = target.startswith((".", "~", "file:")) or "/" in target or bool(_ARCHIVE.search(target)) or bool(at)
    if local and not remote:
        _refuse(where, line, "is a path of this machine, which a build does not see; name a package instead")


def _refuse(where: str, line: str, reason: str, *, hide: bool = False) -> NoReturn:
    shown = "the line" if hide else f"{line[:80]!r}"
    msg = f"{where}{shown} {reason}."
    raise SandboxConfigError(msg)
