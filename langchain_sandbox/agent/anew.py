"""Files of ours among the agent's: made anew and moved into place, never written through what the agent has left there.

A link in a file's place would have us write where it points to, which may be a descriptor of our own; a pipe would
have us wait for ever.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def write_anew(root: str, path: str) -> Iterator[IO[bytes]]:
    """A file to write to, which is there in place of whatever was once it is complete.

    Args:
        root: A folder of ours.
        path: In there; what stands in the way of its folders gives way.

    Raises:
        OSError: If it cannot be made.
    """
    make_folders(root, os.path.dirname(path))
    full = f"{root}/{path}"
    new = f"{full}.{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(new, _NEW_FILE, 0o666), "wb") as file:
            yield file
        if os.path.isdir(full) and not os.path.islink(full):
            _remove(full)
        os.replace(new, full)
    except BaseException:
        with suppress(OSError):
            os.unlink(new)
        raise


def create_anew(root: str, path: str, content: bytes) -> None:
    """Put a file where it is about to come another way, too: whichever comes second leaves the other's in place.

    Args:
        root: A folder of ours.
        path: In there; what stands in the way of it or its folders gives way.
        content: What it says.

    Raises:
        OSError: If it cannot be made.
    """
    make_folders(root, os.path.dirname(path))
    full = f"{root}/{path}"
    _remove(full)
    with suppress(FileExistsError), os.fdopen(os.open(full, _NEW_FILE, 0o666), "wb") as file:
        file.write(content)


def make_folders(root: str, path: str) -> None:
    """Make a folder with those above it, in place of the files and links that stand where one belongs.

    Args:
        root: A folder of ours, which is made where it is not there.
        path: In there; nothing for that one itself.

    Raises:
        OSError: If one cannot be made.
    """
    os.makedirs(root, exist_ok=True)
    full = root
    for part in filter(None, path.split("/")):
        full = f"{full}/{part}"
        if os.path.islink(full) or (os.path.lexists(full) and not os.path.isdir(full)):
            os.unlink(full)
        with suppress(FileExistsError):
            os.mkdir(full)


def _remove(full: str) -> None:
    if os.path.isdir(full) and not os.path.islink(full):
        shutil.rmtree(full)
        return
    with suppress(FileNotFoundError):
        os.unlink(full)
