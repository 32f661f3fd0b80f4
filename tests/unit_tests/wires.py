"""Two ends of a link in one process, over pipes, as they are between the host and a container."""

import os
from collections.abc import Callable
from typing import Any

from langchain_sandbox.agent.wire import Wire
from langchain_sandbox.link import LinkEvent


def connect(
    *, inside: Callable[[LinkEvent], Any], outside: Callable[[LinkEvent], object] = lambda _: None
) -> tuple[Wire, Wire]:
    """The agent's end and the host's; their descriptors stay open, since their threads stay.

    Args:
        inside: Told what the host says.
        outside: Told what the agent says.
    """
    down, up = os.pipe(), os.pipe()
    agent = Wire(read_fd=down[0], write_fd=up[1], on_event=inside, on_end=lambda _: None)
    host = Wire(read_fd=up[0], write_fd=down[1], on_event=outside, on_end=lambda _: None)
    agent.start()
    host.start()
    return agent, host
