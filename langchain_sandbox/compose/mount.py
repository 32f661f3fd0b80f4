"""The mounted workspace: closed to the agent while it works, and changed by one container at a time."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKSPACE = Path()  # PID 1's working folder, whatever it is called

_MOUNT = Path("/host/workspace")
_GATE_LIMIT = 5.0


def close_gate(descriptor: str | None) -> None:
    """Have what is left of root close the way to the workspace, and see that it is closed.

    Args:
        descriptor: Number of the pipe on which it waits, as the entrypoint gives it.

    Raises:
        SandboxConfigError: If the way stays open: then the agent could go there.
    """
    if descriptor is not None and descriptor.isdecimal():
        os.write(int(descriptor), b"\n")
        os.close(int(descriptor))
        deadline = time.monotonic() + _GATE_LIMIT
        while time.monotonic() < deadline:
            try:
                _MOUNT.stat()
            except PermissionError:
                return
            time.sleep(0.005)
    msg = f"{_MOUNT} is open to the agent; start this image by the compose file, which mounts it below a closed folder."
    raise SandboxConfigError(msg)


@contextmanager
def locked() -> Iterator[None]:
    """Only one of the containers that share the workspace changes it at a time."""
    descriptor = os.open(WORKSPACE, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
