"""The seed's way for the unlucky: folders that are not what one thinks, and endings at the wrong moment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from support import make_repository, say

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
