"""What is mounted below /host: closed to the agent while it works; and the workspace, changed by one at a time."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WORKSPACE = Path()  # PID 1's working folder, whatever it is called

_WORKSPACE_MOUNT = Path("/host/workspace")
_GATEWAY_MOUNT = Path("/host/gateway/llm")
_GATE_LIMIT = 5.0
_LOCK_LIMIT = 30.0
_LOCK_RETRY = 0.02


def close_gate(environ: Mapping[str, str], mode: str) -> None:
    """Have what is left of root close the way to what is mounted, and see that it is closed.

    The gateway's is closed in every mode: on a connection of its own the agent would have a budget of its own.

    Args:
        environ: Holds the number of the pipe on which it waits, as the entrypoint gives it.
        mode: In the mode `direct` the workspace stays open.

    Raises:
        SandboxConfigError: If a way stays open: then the agent could go there.
    """
    closed = [_GATEWAY_MOUNT] if mode == "direct" else [_GATEWAY_MOUNT, _WORKSPACE_MOUNT]
    descriptor = environ.get("SANDBOX_GATE")
    if descriptor is not None and descriptor.isdecimal():
        os.write(int(descriptor), b"\n")
        os.close(int(descriptor))
        deadline = time.monotonic() + _GATE_LIMIT
        while time.monotonic() < deadline:
            if all(map(_is_closed, closed)):
                return
            time.sleep(0.005)
    msg = (
        "/host is open to the agent; start this image by the compose file, which makes it a folder that can be closed."
    )
    raise SandboxConfigError(msg)


def _is_closed(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        return True
    return False


@contextmanager
def locked(limit: float = _LOCK_LIMIT) -> Iterator[None]:
    """Only one of the containers that share the workspace changes it at a time.

    Args:
        limit: Seconds to wait for another one.

    Raises:
        SandboxApplyError: If another one still has it then, who may be an agent in the mode `direct`.
    """
    descriptor = os.open(WORKSPACE, os.O_RDONLY)
    try:
        deadline = time.monotonic() + limit
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                msg = f"another program has had the workspace's lock for {limit:g} s."
                raise SandboxApplyError(msg)
            time.sleep(_LOCK_RETRY)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # NFS knows no lock on a folder: better without than not at all
    return True
