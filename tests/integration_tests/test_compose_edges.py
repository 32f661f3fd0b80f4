"""The seed's way for the unlucky: folders that are not what one thinks, and endings at the wrong moment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from support import git, make_repository, say

from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from compose_checkout import Open


def test_a_run_that_ends_while_the_workspace_still_goes_in_ends_in_order(checkout: Open) -> None:
    with ScriptedModel([say()]) as model:
        place = checkout(model.endpoint.base_url)
        make_repository(place.workspace, {"big": os.urandom(1 << 20) * 150})
        done = place.run("Look.", SANDBOX_TIMEOUT="0.3")
    assert (done.code, done.result.status) == (5, "timeout")
    assert "Traceback" not in done.stderr


def test_a_worktree_alone_is_refused_since_nobody_can_say_what_it_ignores(checkout: Open) -> None:
    place = checkout("http://127.0.0.1:9/v1")
    make_repository(place.folder / "main", {"a.txt": "a\n"})
    git(place.folder / "main", "worktree", "add", "--quiet", "../workspace")
    with ScriptedModel([]) as model:
        done = place.run("Look.", SANDBOX_MODEL_BASE_URL=model.endpoint.base_url)
    assert (done.code, done.stdout) == (2, "")
    assert "has a .git that leads to another folder" in done.stderr
