"""What is mounted below /host, closed to the agent while it works."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

WORKSPACE = Path()  # PID 1's working folder, whatever it is called

_WORKSPACE_MOUNT = Path("/host/workspace")
_GATEWAY_MOUNT = Path("/host/gateway/llm")
_GATE_LIMIT = 5.0


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
