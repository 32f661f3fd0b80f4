"""What a figure has to be read with: the machine, without its name or any path on it."""

from __future__ import annotations

import os
import platform
from contextlib import closing

from langchain_sandbox.engine.address import find_engine


def describe_machine() -> dict[str, str]:
    """Facts by name, in the order in which the page tells them; the same ones whenever it is asked."""
    with closing(find_engine().connect()) as client:
        version = client.version()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": f"{os.cpu_count()} ({platform.machine()})",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "engine": f"{version['Version']} (API {version['ApiVersion']})",
        "Python": platform.python_version(),
    }
