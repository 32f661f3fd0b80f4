"""Which paths go in, and which may come out. Pure."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MAX_PATH = 4096
_MAX_NAME = 255

# OpenCode would run or obey these, with every switch against it set; they neither go in nor come out. `.opencode`
# itself is a link here, behind which they could be, or a file of no use: folders are not listed.
_MASKED = re.compile(
    r"(?:.*/)?(?:\.opencode(?:/(?:plugins?|tools?|agents?|modes?)(?:/.*)?)?|opencode\.jsonc?)",
    re.DOTALL | re.IGNORECASE,
)

# Names that some file system takes for `.git`: other case, HFS+ ignorable characters, NTFS short names and streams.
_GIT_LIKE = re.compile(r"\.git|git~\d+", re.IGNORECASE)
_GITMODULES_LIKE = re.compile(r"\.gitmodules|gitmod~\d|(?:g(?:i(?:7(?:e(?:ba?)?)?)?)?)?~\d+", re.IGNORECASE)
_GIT_FOLDERS = ({"head", "objects", "refs"}, {"head", "commondir"})
_GIT_NAMES = {"head", "objects", "refs", "commondir", "config", "config.worktree", "hooks"}
_PATTERN_PARTS = re.compile(
    r"(?P<folders>(?<![^/])\*{2,}(?:/|\Z))|(?P<star>\*+)|(?P<one>\?)|\\(?P<escaped>.)"
    r"|\[(?:(?P<but>[!^])|(?![!^]))(?P<set>(?:\]|\\.|[^\]\\])(?:\\.|[^\]\\])*)\]|(?P<broken>[\[\\])|(?P<plain>.)",
    re.DOTALL,
)
_SET_PARTS = re.compile(r"\\.|.", re.DOTALL)
_NEVER = "(?!)"
_IGNORABLE = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


STAGING = ".langchain-sandbox.apply"
"""Folder in the workspace's root in which changes wait while they are applied."""


def compile_patterns(patterns: Iterable[str]) -> Callable[[str], bool]:
    """A test whether a path, or a folder that it lies in, fits a pattern as a `.gitignore` holds them.

    Args:
        patterns: A name without a slash fits at every depth; one with a slash counts from the workspace's folder.
            Not known are `!` before a pattern, and named sets such as `[[:alpha:]]`.
    """
    expressions = [
        ("" if "/" in pattern else "(?:.*/)?") + _translate(pattern.removeprefix("/")) + "(?:/.*)?"
        for pattern in patterns
    ]
    if not expressions:
        return lambda _path: False
    compiled = re.compile("|".join(expressions), re.DOTALL)
    return lambda path: compiled.fullmatch(path) is not None


def _translate(pattern: str) -> str:
    """One pattern as a regular expression."""
    return "".join(_translate_part(part) for part in _PATTERN_PARTS.finditer(pattern))


def _translate_part(part: re.Match[str]) -> str:
    match part.lastgroup:
        case "folders":
            return "(?:.*/)?" if part[0].endswith("/") else ".*"
        case "star":
            return "[^/]*"
        case "one":
            return "[^/]"
        case "set":
            return _translate_set(part["set"], negated=bool(part["but"]))
        case "broken":  # a `[` that nothing closes, a backslash at the end: with git too, such a pattern fits nothing
            return _NEVER
        case _:
            return re.escape(part["escaped"] or part["plain"])


def _translate_set(members: str, *, negated: bool) -> str:
    """A set such as `[a-z_]`; with git, no set has the slash in it."""
    parts = _SET_PARTS.findall(members)
    found = ""
    while parts:
        low = high = parts.pop(0)[-1]
        if len(parts) > 1 and parts[0] == "-":
            high = parts[1][-1]
            del parts[:2]
        found += re.escape(low) + (f"{re.escape(low)}-{re.escape(high)}" if low < high else "")
    return f"[^/{found}]" if negated else f"(?!/)[{found}]"


def is_masked(path: str) -> bool:
    """Whether a path is left out on the way in and dropped on the way out."""
    return _MASKED.fullmatch(path) is not None


def plain_name(name: str) -> str:
    """A name as the laxest of file systems reads it."""
    return _IGNORABLE.sub("", name).partition(":")[0].rstrip(". ")


def find_fault(path: str) -> str | None:
    """Why a path from a container must not be used, or `None` if it may be."""
    if not path or len(os.fsencode(path)) > _MAX_PATH:
        return "empty or too long"
    if "\0" in path:
        return "holds a NUL"
    for part in path.split("/"):
        if part in {"", ".", ".."} or len(os.fsencode(part)) > _MAX_NAME:
            return "not a plain relative path"
        for name in part.split("\\"):  # a separator elsewhere
            if _GIT_LIKE.fullmatch(plain_name(name)):
                return "inside a .git"
            if plain_name(name).casefold() == STAGING:
                return "where changes wait to be applied"
    return None


def find_link_fault(path: str, target: bytes) -> str | None:
    """Why a link from a container must not be made, or `None` if it may be."""
    if any(_GITMODULES_LIKE.fullmatch(plain_name(name)) for part in path.split("/") for name in part.split("\\")):
        return "a link that git would obey"
    if len(target) >= _MAX_PATH:
        return "a link to a place too far"
    try:
        target.decode("utf-8")
    except UnicodeDecodeError:
        return "a link to a name that is not UTF-8, which no patch can hold"
    return None


def find_git_folders(entries: Iterable[str]) -> set[str]:
    """The folders that git takes for repositories by what is in them, although there is no `.git`.

    It does so where somebody runs it there, and then runs what their `config` says.

    Args:
        entries: Files, links and folders.

    Returns:
        Their paths in lower case; empty for the folder that all is in.
    """
    found: dict[str, set[str]] = {}
    for path in entries:
        folder, _, name = path.rpartition("/")
        found.setdefault(folder.casefold(), set()).add(plain_name(name).casefold())
    return {folder for folder, names in found.items() if any(names >= needed for needed in _GIT_FOLDERS)}


def belongs_to_git_folder(path: str, folders: set[str]) -> bool:
    """Whether a path is what makes one of these folders a repository, or says what git does there."""
    names = path.casefold().split("/")
    return any("/".join(names[:at]) in folders and plain_name(name) in _GIT_NAMES for at, name in enumerate(names))


def parents(path: str) -> list[str]:
    """The folders above a path, nearest last."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
