"""What the user's tree was before a result was applied, kept so that `revert` can put it back exactly."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.applying.transaction import GitMove
from langchain_sandbox.workspace.content import Stored, append, blob_name, save
from langchain_sandbox.workspace.paths import parents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from langchain_sandbox.workspace.applying.merge import MergePlan
    from langchain_sandbox.workspace.inbound.snapshot import Snapshot
    from langchain_sandbox.workspace.outbound.changes import Change

_NAME = "record.json"

Before: TypeAlias = "tuple[int, str, int] | None"
"""Git's mode, git's name of the content, and the permission bits; `None` for nothing."""

After: TypeAlias = "tuple[int, str] | None"
"""Git's mode and name of the content; `None` for nothing."""


@dataclass(slots=True)
class Record:
    """What one run's changes did to a tree.

    Args:
        root: The tree.
        paths: What each path was, and what it was made into.
        move: The branch that moved with them.
        branch: A branch that was made, and its commit.
        folders: Permissions of folders that may have gone with what was in them.
    """

    root: str
    paths: dict[str, tuple[Before, After]] = field(default_factory=dict)
    move: GitMove | None = None
    branch: tuple[str, str] | None = None
    folders: dict[str, int] = field(default_factory=dict)

    def is_of(self, root: Path) -> bool:
        """Whether it is about that tree, or about one that may have become it: nothing is where that was."""
        return not os.path.isdir(self.root) or os.path.samefile(self.root, root)  # noqa: PTH112, PTH121 - a text


def read_record(folder: Path) -> Record | None:
    """What is kept in a folder; `None` if nothing is.

    Raises:
        SandboxApplyError: If it cannot be read.
    """
    try:
        return _parse(json.loads((folder / _NAME).read_text(encoding="ascii")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"What is kept for a revert in {folder} cannot be read: {error}."
        raise SandboxApplyError(msg) from error


def write_record(folder: Path, record: Record | None) -> None:
    """Keep a record, whose contents are there already, or none.

    Raises:
        OSError: If it cannot be written.
    """
    if record is None:
        (folder / _NAME).unlink(missing_ok=True)
        return
    beside = folder / f"{_NAME}.new"
    beside.write_text(json.dumps(_build(record)), encoding="ascii")
    beside.replace(folder / _NAME)


def keep_former(folder: Path, plan: MergePlan) -> dict[str, tuple[Before, After]]:
    """Keep the contents that are about to be overwritten, and say what each path was and will be.

    Args:
        folder: Gets the contents.
        plan: What is about to be written.

    Raises:
        OSError: If a content cannot be kept.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths: dict[str, tuple[Before, After]] = {}
    for write in plan.writes:
        here = plan.former[write.path]
        if here is not None:
            save(here.content, folder / here.blob)
        before = (here.mode, here.blob, here.bits) if here is not None else None
        paths[write.path] = (before, (write.mode, blob_name(write.content)) if write.mode is not None else None)
    return paths


def keep_changed(folder: Path, changes: Sequence[Change], snapshot: Snapshot) -> dict[str, tuple[Before, After]]:
    """As `keep_former`, for changes that are in the tree already.

    Args:
        folder: Gets the contents.
        changes: The changes.
        snapshot: What the tree was.

    Raises:
        OSError: If a content cannot be kept.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths: dict[str, tuple[Before, After]] = {}
    for change in changes:
        entry = snapshot.entries.get(change.path)
        status = snapshot.selection.files.get(change.path) if snapshot.selection is not None else None
        before = None
        if entry is not None and status is not None:
            save(snapshot.read(entry), folder / entry.blob)
            before = (entry.mode, entry.blob, stat.S_IMODE(status.st_mode))
        paths[change.path] = (before, (change.mode, blob_name(change.content)) if change.mode is not None else None)
    return paths


def find_folder_bits(root: Path, plan: MergePlan) -> dict[str, int]:
    """The permissions of folders that may go when what is in them is deleted.

    Args:
        root: The tree.
        plan: What is about to be written.
    """
    above = {folder for write in plan.writes if write.mode is None for folder in parents(write.path)}
    found = {folder: os.lstat(os.path.join(root, folder)).st_mode for folder in above}  # noqa: PTH118 - any bytes
    return {folder: stat.S_IMODE(mode) for folder, mode in found.items() if stat.S_ISDIR(mode)}


def read_content(folder: Path, name: str, into: IO[bytes]) -> Stored:
    """Copy a kept content to the end of an open file: there may be more of them than a process may have files open.

    Raises:
        OSError: If it is not there.
    """
    with (folder / name).open("rb") as file:
        return append(Stored(file, 0, os.fstat(file.fileno()).st_size), into)


def _build(record: Record) -> dict[str, Any]:
    move = record.move
    return {
        "root": record.root,
        "paths": record.paths,
        "branch": record.branch,
        "folders": record.folders,
        "move": move
        and {
            "ref": move.ref,
            "old": move.old,
            "new": move.new,
            "index": [os.fsdecode(line) for line in move.index],
            "former_index": [os.fsdecode(line) for line in move.former_index],
        },
    }


def _parse(value: Mapping[str, Any]) -> Record:
    move, branch = value["move"], value["branch"]
    return Record(
        root=str(value["root"]),
        paths={path: (_tuple(before), _tuple(after)) for path, (before, after) in value["paths"].items()},
        move=move
        and GitMove(
            ref=move["ref"],
            old=move["old"],
            new=move["new"],
            index=[os.fsencode(line) for line in move["index"]],
            former_index=[os.fsencode(line) for line in move["former_index"]],
        ),
        branch=branch and (branch[0], branch[1]),
        folders=dict(value["folders"]),
    )


def _tuple(value: list[Any] | None) -> Any:  # noqa: ANN401 - one of the two kinds above
    return None if value is None else tuple(value)
