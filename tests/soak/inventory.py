"""What this process, its temporary folder and the engine hold; after many runs it should be what it was.

What is kept for the next run is not counted, since how much that is depends on how many runs had use of it at once:
idle connections to the engine, which have an upper limit, and threads of pools that wait for work.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import docker

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.engine.owner import current_owner, is_dead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_PATIENCE = 30.0
_POLL = 0.5
_OURS = {"label": labels.OWNER}
_POOLS = ("/threading.py", "/queue.py", "/concurrent/futures/thread.py", "/anyio/_backends/_asyncio.py")


@contextmanager
def temporary_folder(folder: Path) -> Iterator[None]:
    """Have this process and its children put temporary files where nobody else does, so that they can be counted.

    Args:
        folder: It exists.
    """
    with patch.object(tempfile, "tempdir", str(folder)), patch.dict(os.environ, {"TMPDIR": str(folder)}):
        yield


def take_inventory() -> Counter[str]:
    """How much there is of what."""
    for kept in gc.get_objects():
        if isinstance(kept, docker.APIClient):
            kept.close()  # its idle connections; it makes new ones when it is used again
    gc.collect()
    held: Counter[str] = Counter()
    with closing(find_engine().connect()) as client:
        held["containers"] = len(
            [item for item in client.api.containers(all=True, filters=_OURS) if _concerns_us(item)]
        )
        held["networks"] = len(list(filter(_concerns_us, client.api.networks(filters=_OURS))))
        held["volumes"] = len(list(filter(_concerns_us, client.api.volumes(filters=_OURS)["Volumes"] or [])))
    held["temporary folders"] = len(list(Path(tempfile.gettempdir()).iterdir()))
    frames = sys._current_frames()
    held["threads"] = len([each for each in threading.enumerate() if not _waits_for_work(frames.get(each.ident or 0))])
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            kind = str(descriptor.readlink())
        except OSError:
            continue  # the listing's own
        held["sockets" if kind.startswith("socket:") else "other descriptors"] += 1
    return held


def find_left(before: Counter[str]) -> dict[str, int]:
    """What there is more of than before; whatever goes by itself is given time to.

    Args:
        before: An earlier inventory.
    """
    deadline = time.monotonic() + _PATIENCE
    while (left := take_inventory() - before) and time.monotonic() < deadline:
        time.sleep(_POLL)
    return {what: left[what] for what in before}


def _concerns_us(item: dict[str, object]) -> bool:
    """Whether it is this process's, or a dead one's: others may use the engine, too."""
    told = item.get("Labels")
    owner = str(told.get(labels.OWNER, "")) if isinstance(told, dict) else ""
    return owner == current_owner() or is_dead(owner)


def _waits_for_work(frame: FrameType | None) -> bool:
    """Whether a thread is in nothing but the code of a pool."""
    while frame is not None:
        if not frame.f_code.co_filename.endswith(_POOLS):
            return False
        frame = frame.f_back
    return True
