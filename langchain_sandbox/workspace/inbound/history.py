"""What git needs to look inside as it does outside: the last commits, the index, and a few of the user's settings.

Commits, trees and files travel as one pack; no hook, no remote, no credential, and of the configuration nothing but
the words in `_SETTINGS`.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_sandbox.engine.scratch import make_scratch
from langchain_sandbox.workspace.git import GitError, GitStuckError, find_git_path, git
from langchain_sandbox.workspace.inbound.listing import list_index
from langchain_sandbox.workspace.inbound.selection import GITLINK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_sandbox.workspace.inbound.selection import Repository, Selection
    from langchain_sandbox.workspace.inbound.snapshot import Snapshot

_IDENTITY = ("user.name", "user.email")
_SETTINGS = ("core.autocrlf", "core.eol", "core.filemode")
_RULES = "core.excludesfile"
_WORD = re.compile(r"[A-Za-z]{1,16}")

_EMPTY_TREE = {"sha1": "4b825dc642cb6eb9a060e54bf8d69288fbee4904"}
_EMPTY_BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
_MAX_STAGED = 50_000
_MAX_RULES = 64 * 1024


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


def take_history(selection: Selection, *, depth: int, room: int) -> History | None:
    """Pack the last commits of HEAD, and say how git looks; `None` where there is no repository.

    Args:
        selection: The files that go in.
        depth: How many commits to take; less where they would not fit.
        room: Bytes that the pack may have.

    Raises:
        GitError: If git cannot read them.
    """
    if selection.repository is None or not depth:
        return None
    root, repository = selection.root, selection.repository
    if not _leads_back(repository):
        msg = "its .git leads to another repository, which knows nothing of this folder"
        raise GitError(msg)
    if git(root, "rev-parse", "--show-object-format").strip() != b"sha1":
        msg = "its names are SHA-256, and only SHA-1 is supported"
        raise GitError(msg)
    if repository.head is None and git(root, "rev-parse", "--verify", "--quiet", "HEAD", check=False):
        msg = "the commit that HEAD names is not there"
        raise GitError(msg)
    # Not its short form: that is longer where a tag has the same name.
    ref = os.fsdecode(git(root, "symbolic-ref", "--quiet", "HEAD", check=False)).strip()
    settings = _read_settings(root)
    history = History(
        folder=make_scratch(),
        pack="",
        head=repository.head,
        branch=ref.removeprefix("refs/heads/") or None,
        settings={
            key: value
            for key, value in settings.items()
            if key in _IDENTITY or (key in _SETTINGS and _WORD.fullmatch(value))
        },
        deleted=[repository.prefix + path for path in selection.deleted],
        nested=list(selection.nested),
        rules=read_rules(root, settings.get(_RULES)),
    )
    try:
        objects = _read_index(history, root)
        _fill_pack(history, root, objects, depth=depth, room=room)
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


def _read_settings(root: Path) -> dict[str, str]:
    names = "|".join(name.replace(".", r"\.") for name in (*_IDENTITY, *_SETTINGS, _RULES))
    told = git(root, "config", "-z", "--show-scope", "--get-regexp", f"^({names})$", check=False)
    parts = told.decode("utf-8", "replace").split("\0")
    settings = {}
    for scope, record in zip(parts[::2], parts[1::2], strict=False):
        key, _, value = record.partition("\n")
        # A file that the repository itself names could be any secret of the host's.
        if value.strip() and (key != _RULES or scope in {"system", "global"}):
            settings[key] = value.strip()
    return settings


def read_rules(root: Path, chosen: str | None = None) -> str:
    """The ignore rules of the repository and of the user that are in no file of the tree.

    Args:
        root: A folder of the repository.
        chosen: The user's own file, where it is not in its usual place.
    """
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    own = find_git_path(root, "info/exclude")
    found = []
    # The repository's own is no link: it, too, could lead to a secret.
    for path, follow in ((chosen or f"{base}/git/ignore", 0), (str(own), os.O_NOFOLLOW)):
        with suppress(OSError, ValueError, RuntimeError):
            descriptor = os.open(Path(path).expanduser(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | follow)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
                found.append(file.read(_MAX_RULES).decode("utf-8", "replace"))
    return "\n".join(found)


def _read_index(history: History, root: Path) -> list[str]:
    """Note how the index differs from HEAD, and return the objects that it needs."""
    base = history.head or _EMPTY_TREE["sha1"]
    raw = os.fsdecode(
        git(root, "diff-index", "--cached", "--raw", "-z", "--no-renames", "--abbrev=40", "--ignore-submodules", base)
    )
    fields = iter(raw.split("\0"))
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


def _fill_pack(history: History, root: Path, objects: Sequence[str], *, depth: int, room: int) -> None:
    """Pack as many commits as there is room for."""
    if history.head is None and not objects:
        return
    depths = sorted({depth, -(-depth // 10), 1}, reverse=True)
    why = "more have no room (Limits.workspace)"
    for tried in depths:
        history.shallow = _find_shallow(root, history.head, tried) if history.head else []
        lines = [*(f"--shallow {commit}" for commit in history.shallow), *filter(None, [history.head]), *objects]
        try:
            history.pack = _pack(root, history.folder, lines)
        except GitStuckError:
            raise
        except GitError as error:
            # A partial clone has the files of its last commit alone.
            if tried == depths[-1]:
                raise
            why = f"more cannot be read: {error}"
            continue
        if sum(path.stat().st_size for path in history.folder.glob(f"{history.pack}.*")) <= room:
            if tried < depth:
                history.warnings.append(f"{tried} of {depth} commits went in: {why}.")
            return
    msg = f"even its last commit has more than the {room} bytes that are left (Limits.workspace)"
    raise GitError(msg)


def _find_shallow(root: Path, head: str, depth: int) -> list[str]:
    """The commits whose parents stay behind."""
    listed = git(root, "rev-list", "--parents", f"--max-count={depth}", head, "--").decode("ascii")
    commits = {words[0]: words[1:] for words in map(str.split, listed.splitlines())}
    shallow = [commit for commit, its_parents in commits.items() if any(p not in commits for p in its_parents)]
    # A repository that is itself shallow shows its oldest commits without parents; they have to be named as well.
    own = find_git_path(root, "shallow")
    if own.exists():
        shallow += [line for line in own.read_text(encoding="ascii").split() if line in commits]
    return shallow


def _pack(root: Path, folder: Path, lines: Sequence[str]) -> str:
    """Pack what the lines name, for `git pack-objects --revs`, and return the pack's name."""
    # What is compressed already stays so; looking for better differences would cost more than it saves.
    words = ("pack.window=0", "core.compression=1", "core.fsync=none", "pack.writeReverseIndex=false")
    settings = [word for setting in words for word in ("-c", setting)]
    command = ("pack-objects", "--revs", "--quiet", "--delta-base-offset", f"{folder}/pack")
    (folder / "objects" / "pack").mkdir(parents=True, exist_ok=True)
    feed = "".join(f"{line}\n" for line in lines).encode("ascii")
    name = git(root, *settings, *command, stdin=feed, objects=folder / "objects")
    return f"pack-{name.decode('ascii').strip()}"
