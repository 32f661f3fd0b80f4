"""How many booted containers are kept ready, and for how long."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_sandbox.config import parse_bytes, read_values
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SIZE = 64
"""Spares that a pool may have; each takes some 350 MiB and seconds of a core to boot."""
MIN_MEMORY = 512 * 1024 * 1024
"""Bytes that a spare is counted as before one has told what it takes."""
_SIZES = ("memory",)
_NAMES = ("size", "idle", "memory")


@dataclass(frozen=True, slots=True)
class Pool:
    """Containers that are booted ahead, so that a task need not wait for OpenCode: each serves one task and is gone.

    Args:
        size: How many are kept ready. With none left, a task boots a container of its own, as without a pool.
        idle: Seconds that one waits at most. Then it is taken away, and there is another one after the next task.
        memory: Bytes that all of them together may take, or text such as `"2g"`, from 512 MiB on; `None` for no more
            than `size` allows.

    Raises:
        SandboxConfigError: If a value cannot work.

    Example:
        ```python
        with Sandbox(workspace="path/to/repository", pool=Pool(size=2)) as sandbox:
            sandbox.warm()
            result = sandbox.run("Fix the failing test.")
        ```
    """

    size: int = 2
    idle: float = 900.0
    memory: int | str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 0 < self.size <= MAX_SIZE:
            msg = f"Pool.size is a whole number from 1 to {MAX_SIZE}, not {self.size!r}."
            raise SandboxConfigError(msg)
        if isinstance(self.idle, bool) or not isinstance(self.idle, int | float) or not 0 < self.idle < math.inf:
            msg = f"Pool.idle is a positive number of seconds, not {self.idle!r}."
            raise SandboxConfigError(msg)
        if self.memory is not None:
            size = parse_bytes("Pool.memory", self.memory)
            if size < MIN_MEMORY:
                msg = f"Pool.memory must hold one spare at least, which is counted as 512m; it is {self.memory!r}."
                raise SandboxConfigError(msg)
            object.__setattr__(self, "memory", size)

    @property
    def memory_limit(self) -> float:
        """Bytes that all of them together may take."""
        return math.inf if self.memory is None else int(self.memory)

    @classmethod
    def of(cls, value: Pool | int | None, environ: Mapping[str, str] | None = None) -> Pool | None:
        """A pool as it was given, as a number of spares or as the environment says; `None` for none.

        Args:
            value: What was given.
            environ: Where `SANDBOX_POOL_SIZE`, `_IDLE` and `_MEMORY` are looked for; the process environment by
                default.

        Raises:
            SandboxConfigError: If it cannot work.
        """
        if isinstance(value, Pool):
            return value
        if value is not None:
            return cls(value) if value != 0 else None
        values = read_values("SANDBOX_POOL", _NAMES, os.environ if environ is None else environ, sizes=_SIZES)
        return cls(**values) if values.get("size") else None
