"""Whether an engine holds containers to their limits: tried once by a small container, and remembered.

An engine may take limits and ignore them without a word, and one run could take the machine down then. So a run there
is refused, unless its caller allows it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from typing import TYPE_CHECKING

import anyio.to_thread

from langchain_sandbox.engine.trial import describe_ignored, find_ignored, try_walls
from langchain_sandbox.errors import SandboxUnavailableError
from langchain_sandbox.run_folder import state_folder

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.engine.base import Engine

REMEMBERED = 7 * 24 * 3600.0
"""Seconds; an engine that was changed or started anew is tried again before that."""

logger = logging.getLogger(__name__)


async def require_limits(
    engine: Engine, image: str, *, ignored_allowed: bool, runtime: str | None = None
) -> str | None:
    """Refuse an engine that ignores limits.

    Args:
        engine: The engine.
        image: An image of ours that is there.
        ignored_allowed: Whether the caller takes the risk.
        runtime: The OCI runtime that containers run under; each has its own way with limits.

    Returns:
        What the caller should know; nothing where limits are held.

    Raises:
        SandboxUnavailableError: If they are not, and that is not allowed.
    """
    ignored = await _find_ignored(engine, image, runtime)
    if not ignored:
        return None
    message = describe_ignored(ignored)
    if ignored_allowed:
        return message
    msg = (
        f"{message} `langchain-sandbox doctor` says what to change. To run there all the same, pass "
        "Sandbox(allow_ignored_limits=True) or set SANDBOX_ALLOW_IGNORED_LIMITS=1."
    )
    raise SandboxUnavailableError(msg)


async def _find_ignored(engine: Engine, image: str, runtime: str | None) -> list[str]:
    path = _place(f"{await engine.identify()} {runtime or ''}".rstrip())
    remembered = await anyio.to_thread.run_sync(_recall, path)
    if remembered is not None:
        return remembered
    try:
        ignored = find_ignored(await try_walls(engine, image, runtime=runtime))
    except TimeoutError:
        ignored = None
    if ignored is None:  # a machine that is too busy to tell, or no program of ours: a run says more than this can
        logger.warning("it could not be tried whether the engine holds containers to their limits")
        return []
    await anyio.to_thread.run_sync(_remember, path, ignored)
    return ignored


def _place(identity: str) -> Path:
    """Where it is remembered what an engine does."""
    return state_folder() / "engines" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"


def _recall(path: Path) -> list[str] | None:
    try:
        if not 0 <= time.time() - path.stat().st_mtime < REMEMBERED:
            return None
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return [str(each) for each in told] if isinstance(told, list) else None


def _remember(path: Path, ignored: list[str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(json.dumps(ignored), encoding="utf-8")
    except OSError as error:
        logger.warning("%s cannot be written: %s", path, error)
