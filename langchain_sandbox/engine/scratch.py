"""Temporary folders that are removed even when the process that made them was killed: by the next one."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.engine.owner import current_owner, is_dead

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "langchain-sandbox-"
_OWNER = ".owner"


def make_scratch() -> Path:
    """A new folder for this user alone; whoever makes it removes it."""
    # A short name: the path of a unix socket in it may have 107 bytes in all.
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    (folder / _OWNER).write_text(current_owner(), encoding="utf-8")
    return folder


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder for as long as the block lasts."""
    folder = make_scratch()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_scratch() -> list[Path]:
    """Remove the folders of this user's processes that are gone, and return them."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            mine = folder.lstat().st_uid == os.getuid()
            owner = (folder / _OWNER).read_text(encoding="utf-8") if mine else ""
        except (OSError, ValueError):
            continue  # being made, being removed, or nobody's that we know
        if is_dead(owner):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed
