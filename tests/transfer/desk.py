"""Changes to a workspace, told twice: as operations for the driver in the container, and as what they amount to."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK
from langchain_sandbox.workspace.paths import parents

Tree = dict[str, tuple[int, bytes]]
"""By path, with `/`: git's mode, and the content or where the link points to."""


@dataclass(slots=True)
class Desk:
    """A workspace that is worked on. What is in the way of a change is cleared away first.

    Args:
        tree: How it is now; begins as it arrived in the container.
        operations: What made it so, for `TransferContainer.operate`.
    """

    tree: Tree
    operations: list[dict[str, Any]] = field(default_factory=list)

    def write(self, path: str, content: bytes) -> None:
        """Write a file, in place where there is one: it keeps its mode."""
        mode = self.tree.get(path, (FILE, b""))[0]
        if mode == SYMLINK or path not in self.tree:
            self._make_room(path)
            mode = FILE
        self.tree[path] = (mode, content)
        self._note("write", path, content=content.decode("latin-1"))

    def link(self, path: str, target: bytes) -> None:
        """Make a link."""
        self._make_room(path)
        self.tree[path] = (SYMLINK, target)
        self._note("link", path, target=os.fsdecode(target))

    def chmod(self, path: str, mode: int) -> None:
        """Give a file other permissions; git sees one bit of them. Of a link nothing is changed."""
        if self.tree.get(path, (SYMLINK, b""))[0] != SYMLINK:
            self.tree[path] = (EXECUTABLE if mode & 0o100 else FILE, self.tree[path][1])
            self._note("chmod", path, mode=mode)

    def rename(self, path: str, to: str) -> None:
        """Rename a file, a link or a folder; nothing happens where one of both names lies in the other."""
        if to == path or to.startswith(f"{path}/") or path.startswith(f"{to}/"):
            return
        if any(parent in self.tree for parent in parents(to)) or not self._below(path):
            return
        self._make_room(to)
        self.tree |= {to + name.removeprefix(path): self.tree.pop(name) for name in self._below(path)}
        self._note("rename", path, to=to)

    def clear(self, path: str) -> None:
        """Remove whatever is there: a file, a link, a folder with all in it."""
        for name in self._below(path):
            del self.tree[name]
        self._note("clear", path)

    def git(self, *arguments: str) -> None:
        """Run a git command that leaves the work tree as it is."""
        self._note("git", arguments=list(arguments))

    def _below(self, path: str) -> list[str]:
        return [name for name in self.tree if name == path or name.startswith(f"{path}/")]

    def _make_room(self, path: str) -> None:
        for parent in parents(path):
            if parent in self.tree:
                self.clear(parent)
        self.clear(path)

    def _note(self, do: str, path: str = "", **options: Any) -> None:
        self.operations.append({"do": do, "path": path, **options})
