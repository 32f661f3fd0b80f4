"""What git needs to look inside as it does outside: the last commits, the index, and a few of the user's settings.

Commits, trees and files travel as one pack; no hook, no remote, no credential, and of the configuration nothing but
what `settings` picks.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_sandbox.engine.scratch import make_scratch
from langchain_sandbox.workspace.git import GitError, GitStuckError, git
from langchain_sandbox.workspace.inbound.listing import list_index
from langchain_sandbox.workspace.inbound.packing import Boundary, find_boundary, pack
from langchain_sandbox.workspace.inbound.selection import GITLINK
from langchain_sandbox.workspace.inbound.settings import pick_settings, read_rules, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor, Future

    from langchain_sandbox.workspace.inbound.repository import Interior, Repository
    from langchain_sandbox.workspace.inbound.selection import Selection
    from langchain_sandbox.workspace.inbound.snapshot import Snapshot

_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_EMPTY_BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
_MAX_STAGED = 50_000
_COMPARE = ("diff-index", "--cached", "--raw", "-z", "--no-renames", "--abbrev=40", "--ignore-submodules")


@dataclass(slots=True)
class History:
    """What `take_history` found.

    Args:
        folder: Where the pack and its index lie; removed by `close`.
        pack: The pack's name without its ending; empty if there is nothing to pack.
        head: The commit; `None` before the first one.
        branch: Name of the branch; `None` when no branch is checked out.
        shallow: Commits whose parents stayed behind.
        settings: The user's name and address for commits, and how git treats line ends and modes.
        index: How the index differs from HEAD: mode, name of the content and stage, a tab, the path; as git's
            `update-index --index-info` takes it, so mode 0 takes the path out.
        intended: What is in the index by `git add --intent-to-add`: mode and path, with a tab between.
        deleted: Tracked paths that are not there, and that git should miss.
        differing: Tracked paths whose contents are not what the index says.
        filtered: Paths that a filter of the user's (such as Git LFS) makes out of other contents.
        nested: Folders of the workspace that are repositories outside, and plain folders inside.
        rules: What git ignores besides the `.gitignore` files.
        warnings: What could not go in.
    """

    folder: Path
    pack: str
    head: str | None
    branch: str | None
    shallow: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    index: list[str] = field(default_factory=list)
    intended: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    filtered: list[str] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)
    rules: str = ""
    warnings: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """What the agent needs to know to put it down."""
        names = ("pack", "head", "branch", "shallow", "settings", "index", "intended", "deleted", "differing")
        return {name: getattr(self, name) for name in (*names, "filtered", "nested", "rules")}

    def compare(self, snapshot: Snapshot) -> None:
        """Note which files are not as the index says, and for which of them that is a filter's doing.

        Args:
            snapshot: The files that go in.

        Raises:
            GitError: If git cannot say.
        """
        selection = snapshot.selection
        if selection is None or selection.repository is None:
            return
        differing = [
            path
            for path, (mode, blob) in selection.index.items()
            if (entry := snapshot.entries.get(path)) and (entry.blob != blob or entry.mode != mode)
        ]
        prefix = selection.repository.prefix
        self.differing = [prefix + path for path in differing]
        self.filtered = [prefix + path for path in _find_filtered(selection, differing)]

    def close(self) -> None:
        """Let the pack go."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What is asked of git at once, so that it answers while others do something else.

    Args:
        interior: The repository's own files.
        depth: How many commits to take.
        settings: What the user has told git.
        index: How the index differs from HEAD.
        boundary: Where the history is cut; `None` before the first commit.
    """

    interior: Interior
    depth: int
    settings: Future[dict[str, str]]
    index: Future[bytes]
    boundary: Future[Boundary] | None

    @classmethod
    def begin(cls, selection: Selection, *, depth: int, helpers: Executor) -> Inquiry | None:
        """Ask; `None` where there is nothing to ask about.

        Args:
            selection: Its folder and repository; its files are not needed yet.
            depth: How many commits to take.
            helpers: Threads that wait for git.
        """
        root, repository = selection.root, selection.repository
        if repository is None or repository.interior is None or not depth:
            return None
        head, interior = repository.head, repository.interior
        return cls(
            interior=interior,
            depth=depth,
            settings=helpers.submit(read_settings, root),
            index=helpers.submit(git, root, *_COMPARE, head or _EMPTY_TREE),
            boundary=helpers.submit(find_boundary, root, interior, head, depth) if head else None,
        )


def take_history(selection: Selection, inquiry: Inquiry | None, *, room: int) -> History | None:
    """Pack the last commits of HEAD, and say how git looks; `None` where there is no repository.

    Args:
        selection: The files that go in.
        inquiry: What was asked of git. Less commits are taken than it says where they would not fit.
        room: Bytes that the pack may have.

    Raises:
        GitError: If git cannot read them.
    """
    if selection.repository is None or inquiry is None:
        return None
    root, repository, interior = selection.root, selection.repository, inquiry.interior
    if not _leads_back(repository):
        msg = "its .git leads to another repository, which knows nothing of this folder"
        raise GitError(msg)
    if interior.object_format != "sha1":
        msg = "its names are SHA-256, and only SHA-1 is supported"
        raise GitError(msg)
    if repository.head is None and git(root, "rev-parse", "--verify", "--quiet", "HEAD", check=False):
        msg = "the commit that HEAD names is not there"
        raise GitError(msg)
    settings = inquiry.settings.result()
    history = History(
        folder=make_scratch(),
        pack="",
        head=repository.head,
        branch=interior.ref.removeprefix("refs/heads/") or None,
        settings=pick_settings(settings),
        deleted=[repository.prefix + path for path in selection.deleted],
        nested=list(selection.nested),
        rules=read_rules(root, settings=settings, exclude=interior.exclude),
    )
    try:
        objects = _read_index(history, root, inquiry.index.result())
        _fill_pack(history, root, inquiry, objects, room=room)
    except BaseException:
        history.close()
        raise
    return history


def _leads_back(repository: Repository) -> bool:
    """Whether a repository that lies elsewhere, as a worktree's and a submodule's, says that this folder is its own.

    A folder from anybody could have a `.git` that leads to somebody else's repository, and take its history along.
    """
    link = repository.top / ".git"
    if not link.is_file():
        return True
    top = repository.top
    folder = top / os.fsdecode(git(top, "rev-parse", "--git-dir").rstrip(b"\n"))
    worktree = os.fsdecode(git(top, "config", "--get", "core.worktree", check=False).rstrip(b"\n"))
    try:
        back = Path(os.fsdecode((folder / "gitdir").read_bytes().rstrip(b"\n")))
    except OSError:
        return bool(worktree) and (folder / worktree).resolve() == top.resolve()
    return (folder / back).resolve() == link.resolve()


def _read_index(history: History, root: Path, raw: bytes) -> list[str]:
    """Note how the index differs from HEAD, by what git says of that, and return the objects that it needs."""
    fields = iter(os.fsdecode(raw).split("\0"))
    staged: dict[str, tuple[str, str]] = {}
    conflict = False
    for described in fields:
        if not described:
            continue
        _, mode, _, blob, kind = described.split(" ")
        path = next(fields)
        conflict = conflict or kind == "U"
        if kind != "U":
            staged[path] = (mode, blob)
    if len(staged) > _MAX_STAGED:
        history.warnings.append(f"The index differs from HEAD in {len(staged)} paths; inside it is HEAD's.")
        return []
    intended = _find_intended(root, [path for path, (_, blob) in staged.items() if blob == _EMPTY_BLOB])
    history.intended = sorted(f"{staged[path][0]}\t{path}" for path in intended)
    history.index = [f"{mode} {blob} 0\t{path}" for path, (mode, blob) in staged.items() if path not in intended]
    if conflict:
        unmerged = os.fsdecode(git(root, "ls-files", "-z", "--unmerged", "--full-name", ":/"))
        lines = [line for line in unmerged.split("\0") if line]
        # Git takes the stages only where there is no entry without one.
        gone = dict.fromkeys(line.split("\t", 1)[1] for line in lines)
        history.index += [f"0 {'0' * 40} 0\t{path}" for path in gone]
        history.index += lines
    entries = (line.split("\t", 1)[0].split(" ") for line in history.index)
    objects = {entry[1] for entry in entries if int(entry[0], 8) not in {0, GITLINK}}
    return sorted(objects | ({_EMPTY_BLOB} if intended else set()))


def _find_intended(root: Path, empty: list[str]) -> set[str]:
    """Which of these paths are only meant to be added: git shows such a path as an empty file."""
    if not empty:
        return set()
    return {path for path, listed in list_index(root, "--full-name", ":/") if listed.is_intended}


def _find_filtered(selection: Selection, differing: list[str]) -> list[str]:
    """Which of these paths git takes for unchanged all the same, because of a filter."""
    if not differing:
        return []
    names = b"\0".join(map(os.fsencode, differing))
    told = os.fsdecode(git(selection.root, "check-attr", "-z", "--stdin", "filter", stdin=names)).split("\0")
    filtered = {
        path for path, value in zip(told[::3], told[2::3], strict=False) if value not in {"unspecified", "unset"}
    }
    if not filtered:
        return []
    looks = list_index(selection.root)
    return sorted(path for path, listed in looks if path in filtered and listed.is_like(selection.files[path]))


def _fill_pack(history: History, root: Path, inquiry: Inquiry, objects: Sequence[str], *, room: int) -> None:
    """Pack as many commits as there is room for."""
    if history.head is None and not objects:
        return
    depths = sorted({inquiry.depth, -(-inquiry.depth // 10), 1}, reverse=True)
    why = "more have no room (Limits.workspace)"
    for tried in depths:
        boundary = _find_boundary(history, root, inquiry, tried)
        history.shallow = list(boundary.commits) if boundary is not None else []
        try:
            history.pack = pack(root, inquiry.interior, history.folder, boundary=boundary, objects=objects)
        except GitStuckError:
            raise
        except GitError as error:
            # A partial clone has the files of its last commit alone.
            if tried == depths[-1]:
                raise
            why = f"more cannot be read: {error}"
            continue
        if sum(path.stat().st_size for path in history.folder.glob(f"{history.pack}.*")) <= room:
            if tried < inquiry.depth:
                history.warnings.append(f"{tried} of {inquiry.depth} commits went in: {why}.")
            return
    msg = f"even its last commit has more than the {room} bytes that are left (Limits.workspace)"
    raise GitError(msg)


def _find_boundary(history: History, root: Path, inquiry: Inquiry, depth: int) -> Boundary | None:
    if history.head is None or inquiry.boundary is None:
        return None
    if depth == inquiry.depth:
        return inquiry.boundary.result()
    return find_boundary(root, inquiry.interior, history.head, depth)
