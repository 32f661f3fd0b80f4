"""Which folders may be mounted into a container, and which never: those that hold more than a project."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.paths import find_fault, find_git_folders, is_masked

if TYPE_CHECKING:
    from collections.abc import Iterable

# Below these is the system, not anybody's project; a home folder may be there all the same.
_SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "usr", "var")
_HOMES = ("/home", "/Users")
_FREE = ("/var/tmp", "/var/folders")  # noqa: S108 - named, not written to
_MAX_COVERED = 100


def find_place_fault(folder: Path, *, home: Path, private: Iterable[Path]) -> str | None:
    """Why a folder must not be mounted, or `None` if it may be. Pure.

    Args:
        folder: The folder, with all links in it resolved.
        home: The user's home folder, likewise.
        private: Files and folders that no container may see, such as the engine's socket.
    """
    inside = folder.relative_to(home).parts if folder.is_relative_to(home) else ()
    reasons = {
        "it is the whole file system": folder == Path("/"),
        "it is, or holds, your home folder": home.is_relative_to(folder),
        "it is somebody's home folder": any(Path(homes) in {folder, folder.parent} for homes in _HOMES),
        "it is where settings and keys are": inside[:1] != () and inside[0].startswith("."),
        "it is where somebody's settings and keys are": _is_hidden_in_a_home(folder),
        "it belongs to the system": not inside and _is_system(folder),
    }
    found = [reason for reason, applies in reasons.items() if applies]
    found += [f"{path} is in it" for path in private if path.is_relative_to(folder) or folder.is_relative_to(path)]
    return found[0] if found else None


def _is_hidden_in_a_home(folder: Path) -> bool:
    """Whether it is, or lies in, a folder with a dot in whosever home."""
    below = [folder.relative_to(homes).parts for homes in _HOMES if folder.is_relative_to(homes)]
    return any(len(parts) > 1 and parts[1].startswith(".") for parts in below)


def _is_system(folder: Path) -> bool:
    return folder.parts[1:2] != () and folder.parts[1] in _SYSTEM and not any(map(folder.is_relative_to, _FREE))


@dataclass(slots=True)
class Finds:
    """What a look through a folder has found, as paths relative to it."""

    repositories: list[str] = field(default_factory=list)
    """Every `.git`, be it a folder, a file or a link."""
    settings: list[str] = field(default_factory=list)
    """What OpenCode would run or obey: every `.opencode` and `opencode.json`."""
    sockets: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    """Everything else that is no folder, and every folder under a name that is like `.git`."""
    bare: set[str] = field(default_factory=set)
    """Folders that git takes for repositories by what is in them, as a start of a path: with a slash at the end."""


def search(folder: Path) -> Finds:
    """Look through a folder for what must not be open to a container.

    Raises:
        OSError: If a folder cannot be read.
    """
    finds = Finds()
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        names = []
        with os.scandir(f"{os.fspath(folder)}/{inside}") as entries:
            for entry in entries:
                path = inside + entry.name
                names.append(entry.name)
                if entry.name == ".git":
                    finds.repositories.append(path)
                elif is_masked(path):
                    finds.settings.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{path}/")
                    if find_fault(entry.name) is not None:
                        finds.files.add(path)
                else:
                    finds.files.add(path)
                    if not entry.is_file(follow_symlinks=False) and stat.S_ISSOCK(
                        entry.stat(follow_symlinks=False).st_mode
                    ):
                        finds.sockets.append(path)
        if find_git_folders(names):
            finds.bare.add(inside)
    return finds


def check_place(folder: Path, *, private: Iterable[Path]) -> Finds:
    """Refuse a folder that must not be mounted, and say what in it has to be covered.

    Args:
        folder: The folder, as the user gave it.
        private: As for `find_place_fault`.

    Raises:
        SandboxConfigError: If it must not, with the reason.
    """
    try:
        real = folder.resolve(strict=True)
        owner = real.stat().st_uid
        kept = [path.resolve() for path in private]
        home = Path.home().resolve()
        fault = find_place_fault(real, home=home, private=kept)
        if fault is None and any(above.exists() and real.samefile(above) for above in (home, *home.parents)):
            fault = "it is, or holds, your home folder under another name"
        finds = Finds() if fault else search(real)
    except (OSError, RuntimeError) as error:
        msg = f"The workspace {folder} cannot be looked through: {error}."
        raise SandboxConfigError(msg) from error
    if fault is None and finds.sockets:
        fault = f"there is a socket in it ({clean_name(finds.sockets[0])})"
    if fault is None and owner == 0:
        fault = "it belongs to root, and nothing in a container runs as root"
    if fault is None and len(finds.repositories) + len(finds.settings) > _MAX_COVERED:
        fault = f"it holds more than {_MAX_COVERED} repositories and settings of OpenCode, and each has to be covered"
    if fault is not None:
        msg = (
            f'The workspace {real} is not mounted: {fault}. Name a folder further down, or use Workspace(mode="copy"), '
            "where the container has a copy."
        )
        raise SandboxConfigError(msg)
    return finds
