"""OpenCode on its way up, and the model's address that it is given: what a task needs, and a spare has ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent.endpoint import Endpoint
from langchain_sandbox.agent.opencode import OpenCode

if TYPE_CHECKING:
    from langchain_sandbox.agent.wire import Outlet


class Booted:
    """Both, started.

    Args:
        wire: Where the model's calls go.
        model: What the host says of the model.
        folder: Where OpenCode is to work.
    """

    def __init__(self, wire: Outlet, model: dict[str, Any], *, folder: str) -> None:
        self.endpoint = Endpoint(wire)
        self.endpoint.start()
        self.opencode = OpenCode(context=int(model["context"]), output=int(model["output"]), folder=folder)
