"""The library that keeps OpenCode from collecting garbage at every turn: what it does, and that nobody else has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import bash, say, told

from langchain_sandbox import Sandbox
from langchain_sandbox.agent.opencode import build_environment
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    import docker

# A server that does a little now and then, as OpenCode does while a task is under way.
WORK = """
let turn = 0;
const timer = setInterval(() => {
  globalThis.kept = Array.from({ length: 500 }, (_, index) => ({ index, words: "x".repeat(80) + turn + index }));
  if (++turn >= 100) { clearInterval(timer); console.log("done"); }
}, 20);
"""
LOOK = "env | grep LD_; echo mine: $(grep -c gc_timer /proc/self/maps); echo its: $(grep -c gc_timer /proc/$PPID/maps)"


def count_collections(client: docker.DockerClient, environment: dict[str, str]) -> int:
    """How often the engine of our OpenCode collects in two seconds of such work."""
    output = client.containers.run(
        image_tag(),
        ["-e", WORK],
        entrypoint=["/usr/local/bin/opencode"],
        environment={**environment, "BUN_BE_BUN": "1", "BUN_JSC_logGC": "1"},
        labels={labels.OWNER: current_owner()},
        stderr=True,
        remove=True,
    ).decode()
    assert "done" in output
    return output.count("=> EdenCollection") + output.count("=> FullCollection")


def test_it_keeps_opencodes_engine_from_collecting_at_every_turn(client: docker.DockerClient) -> None:
    ours = build_environment(config="/none", password="word")
    theirs = {name: value for name, value in ours.items() if name != "LD_PRELOAD"}
    often, seldom = count_collections(client, theirs), count_collections(client, ours)
    # Where `often` is low, OpenCode has a later Bun, which does not do that: then the library can go.
    assert often > 30
    assert 0 < seldom < often / 3


def test_opencode_has_it_and_no_tool() -> None:
    with ScriptedModel([bash(LOOK), say("Looked.")]) as model, Sandbox(model=model.endpoint) as sandbox:
        assert sandbox.run("Look.").ok
    (said,) = told(model)
    mine, its = said.splitlines()  # and nothing of it in the environment
    assert mine == "mine: 0"
    assert its.startswith("its: ")
    assert its != "its: 0"
