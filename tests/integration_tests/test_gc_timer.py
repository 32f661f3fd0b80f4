"""The library that keeps OpenCode from collecting garbage at every turn: what it does, and that nobody else has it."""

from __future__ import annotations

import ctypes
import re
import signal
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from support import OPENCODE, bash, say, told

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
# One that has nothing to do, as OpenCode between two tasks.
REST = 'globalThis.kept = "x".repeat(100); console.log("resting"); setInterval(() => {}, 60000);'
COLLECTED = re.compile(r"^([0-9T:-]+\.[0-9]{6})\S* .*=> (?:Eden|Full)Collection", re.MULTILINE)
SLEEP = 2.5  # seconds; more than the one between two collections
AT_ONCE = 0.8  # seconds; less than it
LOOK = (
    "env | grep LD_; echo mine: $(grep -c gc_timer /proc/self/maps); "
    f"echo its: $(grep -c gc_timer /proc/{OPENCODE}/maps)"
)


def build_environments() -> tuple[dict[str, str], dict[str, str]]:
    """OpenCode's with the library, and without."""
    ours = build_environment(config="/none", password="word")
    return ours, {name: value for name, value in ours.items() if name != "LD_PRELOAD"}


def build_engine(program: str, environment: dict[str, str]) -> dict[str, Any]:
    """The engine of our OpenCode with a program of ours, telling of each collection."""
    return {
        "image": image_tag(),
        "command": ["-e", program],
        "entrypoint": ["/usr/local/bin/opencode"],
        "environment": {**environment, "BUN_BE_BUN": "1", "BUN_JSC_logGC": "1"},
        "labels": {labels.OWNER: current_owner()},
    }


def count_collections(client: docker.DockerClient, environment: dict[str, str]) -> int:
    """How often the engine of our OpenCode collects in two seconds of such work."""
    output = client.containers.run(**build_engine(WORK, environment), stderr=True, remove=True).decode()
    assert "done" in output
    return output.count("=> EdenCollection") + output.count("=> FullCollection")


def find_collections_after_sleep(client: docker.DockerClient, environment: dict[str, str]) -> list[float]:
    """Seconds after it was woken up, for all that our OpenCode's engine collected until shortly after that."""
    container = client.containers.run(**build_engine(REST, environment), detach=True)
    try:
        with closing(container.logs(stream=True, follow=True)) as lines:
            assert any(b"resting" in line for line in lines)
        time.sleep(SLEEP)  # so that it has collected what there was
        container.kill("SIGSTOP")
        time.sleep(SLEEP)
        woken = time.time()
        # To its first thread, as PID 1 wakes it.
        container.reload()
        pid = container.attrs["State"]["Pid"]
        assert ctypes.CDLL(None).tgkill(pid, pid, signal.SIGCONT) == 0
        time.sleep(2 * AT_ONCE)
        log = container.logs(timestamps=True).decode()
    finally:
        container.remove(force=True)
    moments = [datetime.fromisoformat(found).replace(tzinfo=UTC).timestamp() for found in COLLECTED.findall(log)]
    assert any(moment < woken for moment in moments)
    return [moment - woken for moment in moments if moment >= woken]


def test_it_keeps_opencodes_engine_from_collecting_at_every_turn(client: docker.DockerClient) -> None:
    ours, theirs = build_environments()
    often, seldom = count_collections(client, theirs), count_collections(client, ours)
    # Where `often` is low, OpenCode has a later Bun, which does not do that: then the library can go.
    assert often > 30
    assert 0 < seldom < often / 3


def test_it_keeps_opencodes_engine_from_collecting_when_it_is_woken_up(client: docker.DockerClient) -> None:
    ours, theirs = build_environments()
    assert min(find_collections_after_sleep(client, theirs)) < AT_ONCE
    assert min(find_collections_after_sleep(client, ours)) > AT_ONCE  # it collects once a second, as ever


def test_opencode_has_it_and_no_tool() -> None:
    with ScriptedModel([bash(LOOK), say("Looked.")]) as model, Sandbox(model=model.endpoint) as sandbox:
        assert sandbox.run("Look.").ok
    (said,) = told(model)
    mine, its = said.splitlines()  # and nothing of it in the environment
    assert mine == "mine: 0"
    assert its.startswith("its: ")
    assert its != "its: 0"
