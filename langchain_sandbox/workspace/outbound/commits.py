"""Commits out of a container: read in quarantine, checked, and only then let into the user's repository.

They come as a bundle. Git reads it into a scratch repository of our own, which sees the user's objects and nothing
else of the user's, and checks every object there. What the commits change is then looked at path by path, as the
files are that come out of a container. The user's repository gets objects from the bundle, and a reference to them;
none of its hooks runs, and nothing is ever forced.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from langchain_sandbox.untrusted import clean_name, clean_text
from langchain_sandbox.workspace.content import Content, measure, read_start
from langchain_sandbox.workspace.git import (
    GitError,
    find_git_path,
    git,
    quote_path,
    scratch_git,
    scratch_repository,
)
from langchain_sandbox.workspace.inbound.snapshot import SYMLINK
from langchain_sandbox.workspace.outbound.objects import read_blobs
from langchain_sandbox.workspace.outbound.risks import Risk, find_risks
from langchain_sandbox.workspace.paths import (
    belongs_to_git_folder,
    find_fault,
    find_git_folders,
    find_link_fault,
    is_masked,
    parents,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from langchain_sandbox.workspace.inbound.repository import Repository

_GITLINK = 0o160000
_GONE = 0
_EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git's name for the tree without anything
_NEW = "refs/new"
_HEAD = f"{_NEW}/HEAD"
_MAX_COMMITS = 1_000
_MAX_PATHS = 100_000
_MAX_BYTES = 1024 * 1024 * 1024
_MAX_SUBJECT = 500
_MAX_NAME = 200
_MAX_LINK = 5_000
_SCANNED = 1024 * 1024
_FORMAT = "%H%x00%an%x00%ae%x00%aI%x00%s"
# Every object is checked, long contents are not held in memory, and nothing is tidied up afterwards.
_SETTINGS = ("fetch.fsckObjects=true", "core.bigFileThreshold=16m", "gc.auto=0", "maintenance.auto=0")
_SAFE = tuple(word for setting in _SETTINGS for word in ("-c", setting))
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")


class _Change(NamedTuple):
    """What a commit does to a path; modes are 0 where there is nothing."""

    commit: str
    path: str
    old_mode: int
    mode: int
    old_blob: str
    blob: str


class CommitsError(Exception):
    """The commits cannot be taken over; the message says which one, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit that the agent made; the result's part of the same name, as plain data. Texts are untrusted."""

    id: str
    subject: str
    author: str
    email: str
    date: str
    risks: list[Risk] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commits:
    """What a bundle holds.

    Args:
        head: The last commit of the branch that was checked out.
        commits: The new ones that lead to it, oldest first.
        index: What they change in all: each path with its mode and the name of its content, `None` if it is gone.
        former: The same before.
        forward: Whether they all follow the commit that the container began with: nothing of the user's is left out.
        branches: Other branches with new commits, which are not in `commits`.
    """

    head: str
    commits: list[Commit]
    index: dict[str, tuple[int, str] | None]
    former: dict[str, tuple[int, str] | None]
    forward: bool
    branches: list[str] = field(default_factory=list)


def read_commits(bundle: Path, repository: Repository) -> Commits:
    """Read a bundle and check all of it.

    Args:
        bundle: The file.
        repository: The user's; its `head` is the commit that the container began with.

    Raises:
        CommitsError: If there is something in it that must not get into a repository.
        GitError: If git cannot read it.
    """
    with _quarantine(bundle, repository) as scratch:
        since = ["--not", repository.head] if repository.head else []
        head = scratch_git(scratch, "rev-parse", "--verify", "--quiet", _HEAD).decode("ascii").strip()
        listed = scratch_git(scratch, "rev-list", "--reverse", "--topo-order", head, *since).decode("ascii").split()
        if len(listed) > _MAX_COMMITS:
            msg = f"there are {len(listed)}, and at most {_MAX_COMMITS} are taken over"
            raise CommitsError(msg)
        described = _describe(scratch, head, since)
        risks = _check_paths(scratch, listed, repository)
        commits = [
            Commit(
                id=commit,
                subject=clean_text(described[commit][3], _MAX_SUBJECT),
                author=clean_text(described[commit][0], _MAX_NAME),
                email=clean_text(described[commit][1], _MAX_NAME),
                date=clean_text(described[commit][2], _MAX_NAME),
                risks=risks.get(commit, []),
            )
            for commit in listed
        ]
        index, former = _compare(scratch, repository.head, head)
        return Commits(
            head=head,
            commits=commits,
            index=index,
            former=former,
            forward=not repository.head
            or not scratch_git(scratch, "rev-list", "--max-count=1", repository.head, "--not", head).strip(),
            branches=_find_branches(scratch, head, since),
        )


def fetch_commits(bundle: Path, repository: Repository, commits: Commits, *, branch: str | None = None) -> None:
    """Let checked commits into the user's repository.

    Args:
        bundle: The file that `read_commits` has read.
        repository: The user's.
        commits: What it said.
        branch: Full name of a branch to make of them; it must not be there. `None` brings the objects alone.

    Raises:
        GitError: If git cannot; the repository has at most objects more then, which nothing refers to.
    """
    target = [f"HEAD:{branch}"] if branch else ["HEAD"]
    git(repository.top, *_SAFE, *_FETCH, str(bundle.absolute()), *target)
    found = git(repository.top, "cat-file", "-t", commits.head, check=False).strip()
    if found != b"commit":
        msg = f"git fetch did not bring {commits.head}: the bundle is not as it was"
        raise GitError(msg)


@contextmanager
def _quarantine(bundle: Path, repository: Repository) -> Iterator[Path]:
    """A scratch repository with the bundle's objects, which sees the user's objects and none of the user's settings."""
    with scratch_repository() as scratch:
        objects, shallow = (find_git_path(repository.top, name) for name in ("objects", "shallow"))
        (scratch / "objects" / "info").mkdir()
        (scratch / "objects" / "info" / "alternates").write_bytes(os.fsencode(quote_path(objects)) + b"\n")
        if shallow.exists():
            (scratch / "shallow").write_bytes(shallow.read_bytes())
        refs = (f"+HEAD:{_HEAD}", f"+refs/heads/*:{_NEW}/heads/*")
        scratch_git(scratch, *_SAFE, *_FETCH, str(bundle.absolute()), *refs)
        # Before git 2.46 fetching from a bundle checks nothing, whatever the settings say.
        for pack in (scratch / "objects" / "pack").glob("*.pack"):
            scratch_git(scratch, *_SAFE, "index-pack", "--strict=badFilemode=error", "-o", "checked", str(pack))
        yield scratch


def _describe(scratch: Path, head: str, since: list[str]) -> dict[str, list[str]]:
    told = scratch_git(scratch, "log", "-z", f"--format={_FORMAT}", head, *since).decode("utf-8", "replace").split("\0")
    return {told[at]: told[at + 1 : at + 5] for at in range(0, len(told) - 4, 5)}


def _check_paths(scratch: Path, listed: list[str], repository: Repository) -> dict[str, list[Risk]]:
    """Look at every path that every commit changes, and return what each commit is to be looked at twice for."""
    feed = "".join(f"{commit}\n" for commit in listed).encode("ascii")
    options = ("--stdin", "-r", "-z", "-m", "--root", "--raw", "--no-renames", "--abbrev=40")
    raw = scratch_git(scratch, "diff-tree", *options, stdin=feed)
    changed: list[_Change] = []
    commit = ""
    fields = iter(os.fsdecode(raw).split("\0"))
    for item in fields:
        if not item.startswith(":"):
            commit = item.strip().partition(" ")[0] or commit
            continue
        old_mode, mode, old_blob, blob, _ = item[1:].split(" ")
        changed.append(_Change(commit, next(fields), int(old_mode, 8), int(mode, 8), old_blob, blob))
        if len(changed) > _MAX_PATHS:
            msg = f"they change more than {_MAX_PATHS} paths"
            raise CommitsError(msg)
    sides = ((each.mode, each.blob) for each in changed), ((each.old_mode, each.old_blob) for each in changed)
    plain = {blob for side in sides for mode, blob in side if mode not in {_GONE, _GITLINK}}
    _check_size(scratch, plain)
    risks: dict[str, set[Risk]] = {}
    folders = find_git_folders(_list_names(scratch, repository.head, changed))
    with tempfile.TemporaryFile(prefix="langchain-sandbox-") as file:
        contents: dict[str, Content] = {**read_blobs(scratch, plain, file)}
        for each in changed:
            content = contents.get(each.blob, b"")
            start = read_start(content, _SCANNED)
            fault = _find_fault(each.path, each.mode, start, repository.prefix) if each.mode else None
            if fault is None and each.mode and belongs_to_git_folder(each.path, folders):
                fault = "git would take its folder for a repository"
            if fault is not None:
                msg = f"{each.commit[:12]} changes {clean_name(each.path)[:_MAX_NAME]!r}: {fault}"
                raise CommitsError(msg)
            found = find_risks(
                each.path,
                mode=each.mode or None,
                old_mode=each.old_mode or None,
                content=start,
                old_content=read_start(contents.get(each.old_blob, b""), _SCANNED),
                size=measure(content),
            )
            risks.setdefault(each.commit, set()).update(found)
    return {commit: sorted(found) for commit, found in risks.items()}


def _check_size(scratch: Path, blobs: set[str]) -> None:
    """See that the contents fit on a disk: a small bundle may hold any number of zeros."""
    feed = "".join(f"{blob}\n" for blob in blobs).encode("ascii")
    sizes = scratch_git(scratch, "cat-file", "--batch-check=%(objectsize)", "--buffer", stdin=feed).split(b"\n")
    if sum(int(size) for size in sizes if size.isdigit()) > _MAX_BYTES:
        msg = f"the files that they change hold more than {_MAX_BYTES} bytes"
        raise CommitsError(msg)


def _list_names(scratch: Path, base: str | None, changed: list[_Change]) -> set[str]:
    """Files, links and folders that were there or come with one of the commits."""
    there = os.fsdecode(scratch_git(scratch, "ls-tree", "-r", "-z", "--name-only", base)).split("\0") if base else ()
    files = {path for path in there if path} | {each.path for each in changed if each.mode}
    return files | {folder for path in files for folder in parents(path)}


def _find_fault(path: str, mode: int, content: bytes, prefix: str) -> str | None:
    if not path.startswith(prefix):
        return "outside of the workspace"
    fault = find_fault(path)
    if fault is None and is_masked(path):
        fault = "would configure OpenCode itself"
    if fault is None and mode == _GITLINK:
        fault = "a submodule"
    if fault is None and mode == SYMLINK:
        fault = find_link_fault(path, content[:_MAX_LINK])
    return fault


_Index = dict[str, tuple[int, str] | None]


def _compare(scratch: Path, base: str | None, head: str) -> tuple[_Index, _Index]:
    """What the commits change in all: after, and before."""
    options = ("-r", "-z", "--raw", "--no-renames", "--abbrev=40", "--no-commit-id")
    fields = iter(os.fsdecode(scratch_git(scratch, "diff-tree", *options, base or _EMPTY, head)).split("\0"))
    after: _Index = {}
    before: _Index = {}
    for item in fields:
        if item:
            old_mode, mode, old_blob, blob, _ = item[1:].split(" ")
            path = next(fields)
            after[path] = (int(mode, 8), blob) if int(mode, 8) else None
            before[path] = (int(old_mode, 8), old_blob) if int(old_mode, 8) else None
    return after, before


def _find_branches(scratch: Path, head: str, since: list[str]) -> list[str]:
    """Other branches that have commits which the one that was checked out has not."""
    listed = os.fsdecode(scratch_git(scratch, "for-each-ref", "--format=%(refname)", f"{_NEW}/heads"))
    found = []
    for ref in filter(None, listed.split("\n")):  # some names hold what else Python splits lines and words at
        count = scratch_git(scratch, "rev-list", "--count", ref, "--not", head, *since[1:])
        if count.strip() != b"0":
            found.append(clean_name(ref.removeprefix(f"{_NEW}/heads/"))[:_MAX_NAME])
    return found
