"""Random workspaces, and what is done to them in the container."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hypothesis import strategies as st
from transfer.desk import Desk, Tree
from unit_tests.trees import add, contents, fates, paths, put_down, sides, targets

from langchain_sandbox.workspace.inbound.snapshot import FILE, SYMLINK

Kind = Literal["repository", "subfolder", "unborn", "folder"]

IGNORE = b"*.log\n/build/\n"
_IGNORED: Tree = {"out.log": (FILE, b"ours\n"), "build/out.bin": (FILE, b"\0")}
_MASKED: Tree = {"opencode.json": (FILE, b"{}\n"), ".opencode/plugin/x.js": (FILE, b"export {}\n")}
_MODES = [0o644, 0o755, 0o600, 0o700, 0o664, 0o444]
_IDENTITY = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
_COMMIT = [*_IDENTITY, "-c", "gc.auto=0", "commit", "--quiet", "--allow-empty", "--message=x"]
_GIT = [["add", "--all"], ["reset", "--quiet"], ["checkout", "--quiet", "-B", "other"], _COMMIT, [*_COMMIT, "--all"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One workspace's way in and out.

    Args:
        kind: A repository, a folder in one, one without a commit, or none at all.
        head: What is committed.
        staged: What is in the index.
        tree: What lies in the folder and is not left out.
        extra: What lies there too and stays at home.
        modes: Permissions of some files, as the user has them.
        desk: What is done in the container, and what `tree` has become then.
    """

    kind: Kind
    head: Tree
    staged: Tree
    tree: Tree
    extra: Tree
    modes: dict[str, int]
    desk: Desk

    @property
    def wanted(self) -> Tree:
        """What should lie in the user's folder when the changes are applied."""
        ignore = ".gitignore" in self.desk.tree
        out = {
            path: side
            for path, side in self.desk.tree.items()
            if path in self.tree or not (ignore and _is_ignored(path))
        }
        return out | self.extra


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A workspace, and some changes."""
    kind: Kind = draw(st.sampled_from(["repository", "repository", "repository", "subfolder", "unborn", "folder"]))
    head = draw(evolutions({}))
    staged = draw(st.one_of(st.just(head), evolutions(head)))
    tree = draw(st.one_of(st.just(staged), evolutions(staged)))
    extra = dict(_MASKED) if draw(st.booleans()) else {}
    if draw(st.booleans()):
        for side in (head, staged, tree):
            side[".gitignore"] = (FILE, IGNORE)
        (tree if kind == "folder" else extra).update(_IGNORED)
    files = sorted(path for path, (mode, _) in tree.items() if mode != SYMLINK)
    modes = draw(st.dictionaries(st.sampled_from(files), st.sampled_from(_MODES), max_size=3)) if files else {}
    tree = {path: _with_mode(side, modes.get(path)) for path, side in tree.items()}
    desk = Desk(dict(tree))
    for _ in range(draw(st.integers(0, 6))):
        _change(draw, desk)
    return Case(kind=kind, head=head, staged=staged, tree=tree, extra=extra, modes=modes, desk=desk)


@st.composite
def evolutions(draw: st.DrawFn, old: Tree) -> Tree:
    """What a tree may become."""
    fate = [draw(fates(path, *side)) for path, side in sorted(old.items())]
    new: Tree = {}
    for part in [*fate, draw(st.dictionaries(paths, sides, max_size=5))]:
        for path, side in part.items():
            add(new, path, side)
    return new


def _change(draw: st.DrawFn, desk: Desk) -> None:
    there = [path for path in sorted(desk.tree) if path != ".gitignore"]
    known = st.sampled_from(there) if there else paths
    path = draw(known)
    changes = {
        "add": lambda: desk.write(draw(paths), draw(contents)),
        "modify": lambda: desk.write(path, draw(contents)),
        "link": lambda: desk.link(draw(st.one_of(paths, known)), draw(targets)),
        "remove": lambda: desk.clear(path),
        "remove folder": lambda: desk.clear(path.partition("/")[0]),
        "rename": lambda: desk.rename(path, draw(paths)),
        "rename folder": lambda: desk.rename(path.partition("/")[0], draw(paths)),
        "chmod": lambda: desk.chmod(path, draw(st.sampled_from(_MODES))),
        "ignored": lambda: desk.write(f"{draw(paths)}.log", draw(contents)),
        "git": lambda: desk.git(*draw(st.sampled_from(_GIT))),
    }
    changes[draw(st.sampled_from(list(changes)))]()


def _is_ignored(path: str) -> bool:
    return path.startswith("build/") or any(name.endswith(".log") for name in path.split("/"))


def _with_mode(side: tuple[int, bytes], mode: int | None) -> tuple[int, bytes]:
    return side if mode is None else (0o100000 | (0o755 if mode & 0o100 else 0o644), side[1])


def make(case: Case, folder: Path) -> Path:
    """Put a case's workspace down in a new folder, and return where it is in there."""
    folder.mkdir()
    root = folder / "part" if case.kind == "subfolder" else folder
    if case.kind != "folder":
        _git(folder, "init", "--quiet", "--template=", "--initial-branch=main")
    if case.kind in {"repository", "subfolder"}:
        _put_anew(root, case.head)
        _git(folder, "add", "--all")
        _git(folder, *_COMMIT)
    if case.kind == "unborn" or (case.kind != "folder" and case.staged != case.head):
        _put_anew(root, case.staged)
        _git(folder, "add", "--all")
    _put_anew(root, case.tree | case.extra)
    for path, mode in case.modes.items():
        (root / path).chmod(mode)
    return root


def _put_anew(root: Path, tree: Tree) -> None:
    """Replace all that is in a folder but its repository."""
    root.mkdir(exist_ok=True)
    for path in root.iterdir():
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.name != ".git":
            shutil.rmtree(path)
    put_down(root, tree)


def _git(folder: Path, *arguments: str) -> None:
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True)
