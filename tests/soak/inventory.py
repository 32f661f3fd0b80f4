"""What this process, its temporary folder and the engine hold; after many runs it should be what it was."""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.address import find_engine

_PATIENCE = 30.0
_POLL = 0.5
_OURS = {"label": labels.OWNER}


def take_inventory() -> Counter[str]:
    """How much there is of what."""
    gc.collect()
    held: Counter[str] = Counter()
    with closing(find_engine().connect()) as client:
        held["containers"] = len(client.api.containers(all=True, filters=_OURS))
        held["networks"] = len(client.api.networks(filters=_OURS))
        held["volumes"] = len(client.api.volumes(filters=_OURS)["Volumes"] or [])
    held["temporary folders"] = len(list(Path(tempfile.gettempdir()).glob("langchain-sandbox-*")))
    held["threads"] = threading.active_count()
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
