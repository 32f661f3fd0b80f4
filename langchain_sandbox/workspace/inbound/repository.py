"""The git repository that a folder is, or is in: where it lies, and what it has checked out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.workspace.git import GitError, GitStuckError, git

# Each is answered with one line.
_QUESTIONS = (
    ("--show-object-format",),
    ("--git-path", "objects"),
    ("--git-path", "shallow"),
    ("--git-path", "info/exclude"),
    ("--show-prefix",),
    ("--show-toplevel",),
)
_COMMIT = "HEAD^{commit}"
# The last ones, since git stops at the first that it cannot answer: that is before the first commit.
_HEAD = ("--revs-only", _COMMIT, "--symbolic-full-name", "HEAD")
_NO_REPOSITORY = "not a git repository"


@dataclass(frozen=True, slots=True)
class Interior:
    """What git says of a repository's own files.

    Args:
        object_format: How objects are named: `sha1` or `sha256`.
        objects: The folder with the objects.
        shallow: The file that says where a shallow history ends; it need not be there.
        exclude: The file with ignore rules that nobody else has; it need not be there.
        ref: Full name of what is checked out; empty where that is a commit and no branch.
    """

    object_format: str
    objects: Path
    shallow: Path
    exclude: Path
    ref: str


@dataclass(frozen=True, slots=True)
class Repository:
    """The git repository that a workspace is, or is a folder of.

    Args:
        top: Its root.
        prefix: Where the workspace lies in it: empty for the root, else such as `packages/a/`.
        head: The commit that is checked out; `None` before the first one.
        interior: Its own files; `None` for one that was not looked for.
    """

    top: Path
    prefix: str
    head: str | None
    interior: Interior | None = field(default=None, compare=False, repr=False)


def find_repository(root: Path) -> Repository | None:
    """The repository that a folder is, or is in.

    Raises:
        SandboxConfigError: If there is one and git cannot read it: then nobody can say what it ignores.
    """
    try:
        told = _ask(root)
    except GitError as error:
        link = root / ".git"
        if _NO_REPOSITORY not in str(error):
            raise SandboxConfigError(describe_broken(root, error)) from error
        if link.is_symlink() or link.is_file():
            msg = (
                f"The workspace {root} has a .git that leads to another folder, as a worktree's and a submodule's do. "
                "That is not there, so nobody can say what git ignores. Use the repository's main folder, or a clone."
            )
            raise SandboxConfigError(msg) from error
        if link.is_dir() and any(link.iterdir()):
            msg = (
                f"The workspace {root} has a .git that git does not take for a repository, so nobody can say what it "
                "ignores. Mend it (`git fsck` says what is wrong), or remove it to have everything go in."
            )
            raise SandboxConfigError(msg) from error
        return None
    object_format, objects, shallow, exclude, prefix, top, head, ref = map(os.fsdecode, told)
    base = root.absolute()
    interior = Interior(object_format, base / objects, base / shallow, base / exclude, ref)
    return Repository(Path(top), prefix, head or None, interior)


def describe_broken(root: Path, error: GitError) -> str:
    """What a user is told of a repository that git fails on."""
    return f"The workspace {root} is a repository that git cannot read: {error}."


def _ask(root: Path) -> list[bytes]:
    """The answers to all questions, then the commit and the full name of what is checked out, each maybe empty."""
    if "\n" not in os.path.realpath(root):
        try:
            *told, _ = git(root, "rev-parse", *chain.from_iterable(_QUESTIONS), *_HEAD).split(b"\n")
        except GitStuckError:
            raise
        except GitError as error:
            if _NO_REPOSITORY in str(error):
                raise
        else:
            # Any other number: there is a line break in where a worktree's repository lies, or what is checked out
            # has a name that others have, too.
            if len(told) == len(_QUESTIONS) + 2:
                ref = told.pop()
                return [*told, b"" if ref == b"HEAD" else ref]
            if len(told) == len(_QUESTIONS):
                return [*told, b"", _find_ref(root)]
    told = [git(root, "rev-parse", *question).removesuffix(b"\n") for question in _QUESTIONS]
    commit = git(root, "rev-parse", "--verify", "--quiet", _COMMIT, check=False).strip()
    return [*told, commit, _find_ref(root)]


def _find_ref(root: Path) -> bytes:
    # Not its short form: that is longer where a tag has the same name.
    return git(root, "symbolic-ref", "--quiet", "HEAD", check=False).strip()
