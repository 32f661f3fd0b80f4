"""The workspace that is worked on where it lies, for the mode `direct`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from langchain_sandbox.agent.arrival import Arrival
from langchain_sandbox.agent.manifest import fingerprint
from langchain_sandbox.agent.opencode import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_sandbox.agent.wire import Outlet


class InPlace(Arrival):
    """An arrival of what is there already: nothing is copied, only looked at.

    Args:
        wire: As for any arrival.
        paths: The files that count as arrived; what git ignores does not.
    """

    def __init__(self, wire: Outlet, paths: Iterable[str]) -> None:
        super().__init__(wire)
        self._paths = list(paths)

    def _receive(self, git: dict[str, Any] | None) -> None:  # noqa: ARG002 - the repository's git is as it is
        try:
            found = ((path, os.path.join(REPOSITORY, path)) for path in self._paths)  # noqa: PTH118 - as in the agent
            self.manifest = {path: fingerprint(os.lstat(full)) for path, full in found if os.path.lexists(full)}
        except OSError as error:
            self._error = str(error)
        finally:
            self._done.set()
