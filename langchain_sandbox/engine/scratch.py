"""Temporary folders that are removed even when the process that made them was killed: by the next one."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.engine.owner import current_owner, is_dead

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
"""What a folder for temporary files says that is full, or whose user has a quota there and has used it up."""

_PREFIX = "langchain-sandbox-"
_OWNER = ".owner"
_MAKING = 60.0  # seconds; a folder has its owner in it a moment after it was made


def make_scratch() -> Path:
    """A new folder for this user alone; whoever makes it removes it."""
    # A short name: the path of a unix socket in it may have 107 bytes in all.
    owner = current_owner()  # before, so that it is without one as shortly as can be
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        (folder / _OWNER).write_text(owner, encoding="utf-8")
    except BaseException:  # a full disk has room for a folder, and none for what is in it
        shutil.rmtree(folder, ignore_errors=True)
        raise
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
            status = folder.lstat()
            if status.st_uid != os.getuid():
                continue
            owner = _read_owner(folder)
        except (OSError, ValueError):
            continue  # being removed, or nobody's that we know
        if is_dead(owner):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
        elif not owner and time.time() - status.st_mtime > _MAKING and _remove_empty(folder):
            removed.append(folder)
    return removed


def _read_owner(folder: Path) -> str:
    """Whose it is; empty as long as that was not said."""
    try:
        return (folder / _OWNER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _remove_empty(folder: Path) -> bool:
    """Remove a folder whose maker was killed before it said whose it is; nothing that has anything in it is touched."""
    with suppress(OSError):
        if (folder / _OWNER).stat().st_size == 0:
            (folder / _OWNER).unlink()
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
