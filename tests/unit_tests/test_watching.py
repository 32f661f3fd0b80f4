"""Who shows the runs of a process."""

from __future__ import annotations

import os
from typing import Any

import pytest

from langchain_sandbox.watching import set_watcher, wait_for


class Watched:
    """Shows nothing, and says that it was asked."""

    def watch(self, _handle: Any) -> Any:
        return "watched"

    async def awatch(self, _handle: Any) -> Any:
        return "watched"

    def result(self) -> Any:
        return "by itself"


def test_a_forked_child_of_a_notebook_has_nobody_who_shows_its_runs(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: set_watcher(None))
    handle: Any = Watched()
    set_watcher(handle)
    child = os.fork()
    if not child:
        os._exit(0 if wait_for(handle) == "by itself" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert wait_for(handle) == "watched"
