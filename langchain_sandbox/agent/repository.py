"""Git in the copy, made to look as it does for the user: HEAD, index, settings, and what it should not miss."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent import children
from langchain_sandbox.agent.anew import make_folders, write_anew
from langchain_sandbox.agent.index import ASSUME_UNCHANGED, INTENT_TO_ADD, SKIP_WORKTREE, IndexEntry, build_index
from langchain_sandbox.agent.manifest import fingerprint, take_manifest
from langchain_sandbox.agent.opencode import REPOSITORY, tool_environment

if TYPE_CHECKING:
    from collections.abc import Collection

_TIMEOUT = 120.0
_GITLINK = 0o160000
_SLASH = ord("/")
_CORE = {"repositoryformatversion": "0", "filemode": "true", "bare": "false", "logallrefupdates": "true"}
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\t": r"\t", "\b": r"\b"})
_NOTHING = "0" * 40
_EMPTY_BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def call(*arguments: str) -> bytes:
    """Run git in the repository and return its standard output.

    Raises:
        OSError: If it fails.
    """
    return children.run(["git", *arguments], cwd=REPOSITORY, env=tool_environment(), timeout=_TIMEOUT)


def make_repository(branch: str) -> None:
    """What `git init` makes, without a process: an empty repository with a branch to be born."""
    make_git_folders()
    point_head(branch)
    _write("config", build_config({}))


def make_git_folders() -> None:
    """The folders without which git takes a repository for none."""
    for part in ("objects/pack", "objects/info", "refs/heads", "refs/tags", "hooks", "info"):
        make_folders(REPOSITORY, f".git/{part}")


def remove_locks() -> None:
    """Take away what a git that was killed has left, which would keep every other one out."""
    for folder, folders, names in os.walk(f"{REPOSITORY}/.git"):
        if "objects" in folders:
            folders.remove("objects")
        for name in names:
            if name.endswith(".lock"):
                os.unlink(os.path.join(folder, name))


def point_head(branch: str | None) -> None:
    """Have a branch checked out, as far as HEAD goes; nothing for none, where HEAD is a commit."""
    if branch:
        _write("HEAD", f"ref: refs/heads/{branch}\n")


def build_config(settings: dict[str, str]) -> str:
    """A repository's configuration as git reads it, with a user's settings in it. Pure.

    Args:
        settings: By names in two parts, such as `user.name`; values of any text.
    """
    sections: dict[str, dict[str, str]] = {"core": dict(_CORE)}
    for key, value in settings.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    lines = []
    for section, values in sections.items():
        lines.append(f"[{section}]\n")
        lines += [f'\t{name} = "{value.translate(_ESCAPES)}"\n' for name, value in values.items()]
    return "".join(lines)


def read_head() -> bytes:
    """What HEAD, a commit whose objects are there already, has: as `git ls-tree -r -z` says it.

    Raises:
        OSError: If it is not there as a whole.
    """
    return call("ls-tree", "-r", "-z", "--full-tree", "HEAD")


def restore_head(git: dict[str, Any], *, shallow: Collection[str] = ()) -> None:
    """Check out the commit that the host names, as far as git's own files go.

    Args:
        git: The description.
        shallow: Commits whose parents are not there either, since histories that came before end with them.

    Raises:
        OSError: If it cannot be written.
    """
    if ends := {*shallow, *git["shallow"]}:
        _write("shallow", "".join(f"{commit}\n" for commit in sorted(ends)))
    if not git["head"]:
        return
    name = f"refs/heads/{git['branch']}" if git["branch"] else "HEAD"
    _write(name, f"{git['head']}\n")
    for log in {name, "HEAD"}:
        _write(f"logs/{log}", f"{_NOTHING} {git['head']} sandbox <sandbox> {int(time.time())} +0000\n")


def restore_index(git: dict[str, Any], listed: bytes, manifest: dict[str, tuple[int, ...]], *, prefix: str) -> None:
    """Have git look as the host's description of a repository says.

    Args:
        git: The description.
        listed: What HEAD has, by `read_head`; nothing before the first commit.
        manifest: How the files look that came in.
        prefix: Where they lie in the repository: empty, or such as `packages/a/`.

    Raises:
        OSError: If it cannot be written.
    """
    _write("info/exclude", git["rules"])
    _write("config", build_config(git["settings"]))
    seen = {os.fsencode(prefix + path): looks for path, looks in manifest.items()}
    entries = build_entries(listed, git, seen)
    status = os.lstat(REPOSITORY)
    with write_anew(REPOSITORY, ".git/index") as index:
        index.write(build_index(entries, device=status.st_dev, uid=status.st_uid, gid=status.st_gid))


def look_at_refs() -> dict[str, tuple[int, ...]]:
    """How the files look that say which commits there are: as long as none of them changes, there is no new one."""
    looks = {}
    for name in ("HEAD", "packed-refs", "config", "commondir"):
        with suppress(OSError):
            looks[name] = fingerprint(os.lstat(f"{REPOSITORY}/.git/{name}"))
    with suppress(OSError):
        looks |= take_manifest(f"{REPOSITORY}/.git/refs")
    return looks


def _write(name: str, text: str) -> None:
    """Write one of git's own files."""
    with write_anew(REPOSITORY, f".git/{name}") as file:
        file.write(text.encode("utf-8", "surrogateescape"))


def build_entries(listed: bytes, git: dict[str, Any], seen: dict[bytes, tuple[int, ...]]) -> list[IndexEntry]:
    """What is tracked: HEAD's files, less and more what the host says. Pure.

    Args:
        listed: What `git ls-tree -r -z` says of HEAD.
        git: The host's description.
        seen: How the files that are there look, by path in the repository.
    """
    found: dict[tuple[bytes, int], IndexEntry] = {}
    for record in listed.split(b"\0"):
        if record:
            described, path = record.split(b"\t", 1)
            mode, _, blob = described.split(b" ")
            found[path, 0] = IndexEntry(path, int(mode, 8), blob.decode("ascii"))
    for line in git["index"]:
        described, name = line.split("\t", 1)
        mode, blob, stage = described.split(" ")
        path = os.fsencode(name)
        if int(mode, 8):
            found[path, int(stage)] = IndexEntry(path, int(mode, 8), blob, int(stage))
        else:
            found.pop((path, 0), None)
    for line in git["intended"]:
        mode, name = line.split("\t", 1)
        path = os.fsencode(name)
        if path in seen or name in git["deleted"]:
            found[path, 0] = IndexEntry(path, int(mode, 8), _EMPTY_BLOB, more_flags=INTENT_TO_ADD)
    _mark_entries([entry for entry in found.values() if not entry.stage and not entry.more_flags], git, seen)
    return list(found.values())


def _mark_entries(entries: list[IndexEntry], git: dict[str, Any], seen: dict[bytes, tuple[int, ...]]) -> None:
    deleted, differing, filtered = (set(map(os.fsencode, git[key])) for key in ("deleted", "differing", "filtered"))
    there: set[bytes] | dict[bytes, tuple[int, ...]] = seen
    if any(entry.mode == _GITLINK for entry in entries):
        there = {path[:at] for path in seen for at in _ends(path)}  # submodules are folders
    for entry in entries:
        if entry.path in filtered:
            entry.flag = ASSUME_UNCHANGED
        elif entry.path not in there and entry.path not in deleted:
            # What stayed outside (the rest of a repository of which a folder went in, what was excluded) is not to
            # look as if somebody had deleted it, to git as little as to the agent.
            entry.more_flags = SKIP_WORKTREE
        elif entry.path not in differing:
            entry.seen = seen.get(entry.path)


def _ends(path: bytes) -> list[int]:
    """Where the names of the folders above a path end, and its own."""
    return [*(at for at, byte in enumerate(path) if byte == _SLASH), len(path)]
