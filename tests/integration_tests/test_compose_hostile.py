"""The seed's way with somebody hostile inside: a repository that lays traps, and an agent that tries the walls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import bash, say, told

from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from compose_checkout import Open


@pytest.mark.parametrize("mode", ["copy", "direct"])
def test_the_gateway_is_out_of_the_agents_reach(checkout: Open, mode: str) -> None:
    """A connection of the agent's own would be another run to it, with a budget of its own."""
    connect = (
        "for path in /run/llm/link.sock /host/gateway/llm/link.sock /proc/1/root/host/gateway/llm/link.sock; do "
        "python3 -c 'import socket, sys; socket.socket(1).connect(sys.argv[1])' $path 2>&1 | tail -n 1; done;"
        "ls /host/gateway; ls /proc/1/fd"
    )
    with ScriptedModel([bash(connect), say()]) as model:
        done = checkout(model.endpoint.base_url).run("Connect.", WORKSPACE_MODE=mode)
        (output,) = told(model)
    assert done.result.ok
    lines = output.splitlines()
    assert lines[0].startswith("FileNotFoundError")
    assert [line.partition(":")[0] for line in lines[1:3]] == ["PermissionError"] * 2
    assert [line.rpartition(": ")[2] for line in lines[3:]] == ["Permission denied"] * 2


def test_what_the_agent_does_to_its_home_does_not_touch_the_result(checkout: Open) -> None:
    spoil = (
        "printf '[broken' > ~/.gitconfig; mkdir -p ~/.config/git; echo '* -diff' > ~/.config/git/attributes;"
        "echo new > notes.txt"
    )
    with ScriptedModel([bash(spoil), say()]) as model:
        place = checkout(model.endpoint.base_url)
        place.workspace.mkdir()
        (place.workspace / "notes.txt").write_text("old\n")
        done = place.run("Write.")
    assert done.code == 0
    assert "-old\n+new\n" in str(done.result.patch)
    assert (place.workspace / "notes.txt").read_text() == "new\n"
