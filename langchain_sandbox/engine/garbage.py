"""What processes of this machine left when they died: containers on an engine, and scratch folders here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio.to_thread

from langchain_sandbox.engine.scratch import sweep_scratch

if TYPE_CHECKING:
    from langchain_sandbox.engine.base import Engine

logger = logging.getLogger(__name__)


async def collect_garbage(engine: Engine) -> None:
    """Remove it, as far as that is possible; nobody's task fails for it.

    Args:
        engine: Where containers are looked for.
    """
    try:
        await anyio.to_thread.run_sync(sweep_scratch)
        await engine.collect_garbage()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not the task's
        logger.debug("collecting garbage: %s", error)
