"""What is remembered of runs that a graph asked for, so that a step which is taken again does not repeat its run.

::

    <state folder>/keys/<key>/     locked by whoever works on the run
        run                        the name of the run that was begun
        result.json                its result; there when the run is over

The lock is the kernel's (`flock`), so that it goes with its process, however that ends: a key that is locked has a
living owner, and one that is not has none. Nobody has to guess from times or process numbers.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from langchain_sandbox.result import SandboxResult
from langchain_sandbox.run_folder import RunFolder, last_change, measure, state_folder

if TYPE_CHECKING:
    from langchain_sandbox.workspace_config import Retention

_RUN = "run"
_RESULT = "result.json"


class Claim(Protocol):
    """A key that is ours: nobody else works on its run until we let go of it, or our process ends."""

    def find_result(self) -> SandboxResult | None:
        """The result of the run that was begun under this key, if it is over; else `None`."""

    def begin(self, run_id: str) -> None:
        """Note which run was begun, so that it is found even if we end between its end and `finish`.

        Args:
            run_id: The run's name.

        Raises:
            OSError: If it cannot be written.
        """

    def finish(self, result: SandboxResult) -> None:
        """Keep the result.

        Args:
            result: The run's.

        Raises:
            OSError: If it cannot be written.
        """

    def release(self) -> None:
        """Let go of the key. Twice is once. Never blocks."""


class RunStore(Protocol):
    """Remembers results by key, and lets one caller at a time work on a key, in all processes that use the store.

    Methods may block; in an event loop they are called in other threads.
    """

    def claim(self, key: str) -> Claim | None:
        """Take a key without waiting for it.

        Args:
            key: 64 hexadecimal digits.

        Returns:
            The key as ours, or `None` while a living caller has it. A dead caller's is free.

        Raises:
            OSError: If the store cannot be used; the run then goes on without it.
        """

    def sweep(self, retention: Retention) -> None:
        """Forget what is too old or too much. What somebody has claimed stays.

        Args:
            retention: How long and how many bytes to keep.

        Raises:
            OSError: If the store cannot be used.
        """


class DirectoryRunStore:
    """A `RunStore` in a folder of this machine, which only its user can read.

    Args:
        folder: Where; by default `keys` in the state folder (`SANDBOX_STATE_DIR`). It has to be on a local disk: what
            locks mean on a network file system depends on that file system.

    Example:
        ```python
        node = SandboxNode(sandbox=sandbox, store=DirectoryRunStore("/var/lib/my-service/runs"))
        ```
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._chosen = None if folder is None else Path(folder).expanduser().absolute()

    def __repr__(self) -> str:
        return f"DirectoryRunStore({str(self._folder)!r})"

    def claim(self, key: str) -> DirectoryClaim | None:
        """As in `RunStore`."""
        path = self._folder / key
        while True:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileExistsError):  # not `exist_ok`, which looks again, when it may have been swept
                path.mkdir(mode=0o700)
            with suppress(FileNotFoundError):  # swept between the two
                claim = DirectoryClaim.take(path)
                if claim is None or claim.holds_its_place:
                    return claim
                claim.release()

    def sweep(self, retention: Retention) -> None:
        """As in `RunStore`; what is too much is what was used longest ago."""
        entries = sorted(((last_change(entry), entry.path) for entry in os.scandir(self._folder)), reverse=True)
        room = retention.room
        for at, path in entries:
            room -= measure(path)
            if room < 0 or time.time() - at > retention.age:
                _remove(Path(path))

    @property
    def _folder(self) -> Path:
        return self._chosen or state_folder() / "keys"


class DirectoryClaim:
    """A key's folder, locked. Made by `DirectoryRunStore.claim`; one that nobody holds any more is released.

    Args:
        path: The folder.
        descriptor: The folder, open and locked.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)
        _claims.add(self)

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Lock a folder that is there; `None` if it is locked already, by this process or another.

        Raises:
            OSError: If it cannot be opened or locked.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
        return cls(path, descriptor)

    @property
    def holds_its_place(self) -> bool:
        """Whether the locked folder is still the one of that name: it may have been swept before it was locked."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.lstat())
        except FileNotFoundError:
            return False

    def find_result(self) -> SandboxResult | None:
        """As in `Claim`. What cannot be read counts as not there."""
        with suppress(OSError, ValueError):
            return _read_result(self._path / _RESULT)
        with suppress(OSError, ValueError):
            return _read_result(RunFolder.of((self._path / _RUN).read_text(encoding="ascii")).result)
        return None

    def begin(self, run_id: str) -> None:
        """As in `Claim`."""
        (self._path / _RESULT).unlink(missing_ok=True)
        self._write(_RUN, run_id)

    def finish(self, result: SandboxResult) -> None:
        """As in `Claim`."""
        self._write(_RESULT, json.dumps(result.model_dump(mode="json")))

    def release(self) -> None:
        """As in `Claim`."""
        self._close()

    def _write(self, name: str, text: str) -> None:
        beside = self._path / f"{name}.new"
        beside.touch(mode=0o600)
        beside.write_text(text, encoding="ascii")
        beside.replace(self._path / name)


_claims: weakref.WeakSet[DirectoryClaim] = weakref.WeakSet()


def _read_result(path: Path) -> SandboxResult:
    # Not pydantic's own reader: it refuses half characters, which the words of an agent may hold.
    return SandboxResult.model_validate(json.loads(path.read_bytes()))


def _remove(path: Path) -> None:
    """Remove a key's folder, unless somebody has it."""
    with suppress(OSError):
        claim = DirectoryClaim.take(path)
        if claim is not None:
            shutil.rmtree(path, ignore_errors=True)
            claim.release()


def _let_go() -> None:
    """A forked child shares its parent's locks, and would keep them when the parent has ended."""
    for claim in list(_claims):
        claim.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
