"""Whatever ends the host process, the container goes with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import LABELLED, bash, containers, say, wait_until

from langchain_sandbox import Sandbox
from langchain_sandbox.engine import labels
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

    from langchain_sandbox import ModelEndpoint

VICTIM = Path(__file__).with_name("victim.py")
AT_ONCE = 5


@pytest.fixture
def model() -> Iterator[ModelEndpoint]:
    def answer(messages: list) -> dict:
        return say() if messages[-1]["role"] == "tool" else bash("sleep 60")

    with ScriptedModel(answer) as scripted:
        yield scripted.endpoint


def start_victim(model: ModelEndpoint, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"SANDBOX_MODEL_BASE_URL": model.base_url}
    command = [sys.executable, str(VICTIM), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=VICTIM.parent
    )


def wait_for(victim: subprocess.Popen[str], word: str) -> str:
    """Read the victim's lines until one begins with a word, and return that line."""
    assert victim.stdout is not None
    for line in victim.stdout:
        if line.startswith(word):
            return line.strip()
    pytest.fail(f"the victim ended with {victim.wait()} and never said {word!r}")


def gone(client: docker.DockerClient, run_id: str) -> bool:
    return not client.api.containers(all=True, filters={"label": f"{labels.RUN}={run_id}"})


@pytest.mark.parametrize("moment", ["started", "tool_started"], ids=["during boot", "in the middle of a tool"])
def test_kill_9_of_the_host_takes_the_container_along(
    client: docker.DockerClient, model: ModelEndpoint, moment: str
) -> None:
    victims = [start_victim(model) for _ in range(AT_ONCE)]
    try:
        runs = [wait_for(victim, "run ").split()[1] for victim in victims]
        for victim, run_id in zip(victims, runs, strict=True):
            wait_for(victim, moment)
            assert not gone(client, run_id)
            victim.kill()
            wait_until(lambda run_id=run_id: gone(client, run_id), limit=2.0)
    finally:
        for victim in victims:
            victim.kill()
            victim.communicate()


def test_a_container_that_was_never_started_is_removed_by_the_next_run(
    client: docker.DockerClient, model: ModelEndpoint
) -> None:
    for _ in range(10):
        victim = start_victim(model, "orphan")
        wait_for(victim, "created")
        assert victim.wait(60) == -signal.SIGKILL
        victim.communicate()
        name = f"/langchain-sandbox-orphan-{victim.pid}"
        if name in containers(client):
            break  # else a run of the tests beside these was quicker
    else:
        pytest.fail("a container that was never started did not outlive its process once")
    with ScriptedModel([say()]) as other:
        assert Sandbox(model=other.endpoint).run("Anything.").ok
    assert name not in containers(client)


def test_what_a_living_process_owns_is_left_alone(client: docker.DockerClient, model: ModelEndpoint) -> None:
    victim = start_victim(model)
    try:
        run_id = wait_for(victim, "run ").split()[1]
        wait_for(victim, "started")
        with ScriptedModel([say()]) as other:
            assert Sandbox(model=other.endpoint).run("Anything.").ok
        assert not gone(client, run_id)
    finally:
        victim.kill()
        victim.communicate()
    wait_until(lambda: gone(client, run_id), limit=2.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_polite_signal_ends_the_run_within_five_seconds(
    client: docker.DockerClient, model: ModelEndpoint, number: int
) -> None:
    victim = start_victim(model)
    try:
        run_id = wait_for(victim, "run ").split()[1]
        wait_for(victim, "tool_started")
        began = time.monotonic()
        victim.send_signal(number)
        victim.wait(10)
        wait_until(lambda: gone(client, run_id), limit=5.0 - (time.monotonic() - began))
        assert victim.returncode == (-signal.SIGTERM if number == signal.SIGTERM else -signal.SIGINT)
    finally:
        victim.kill()
        victim.communicate()


def test_a_forked_child_does_not_keep_the_container_alive(client: docker.DockerClient, model: ModelEndpoint) -> None:
    """A child of `fork` has copies of our descriptors; if it kept them, the stream would not end with us."""
    program = (
        "import os, sys, time\n"
        "from langchain_sandbox import Sandbox\n"
        "handle = Sandbox().start('Work.')\n"
        "for event in handle.events():\n"
        "    if event.type == 'started':\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(30)\n"
        "            os._exit(0)\n"
        "        print('run', handle.run_id, flush=True)\n"
    )
    environment = os.environ | {"SANDBOX_MODEL_BASE_URL": model.base_url}
    victim = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        run_id = wait_for(victim, "run ").split()[1]
        victim.kill()
        wait_until(lambda: gone(client, run_id), limit=2.0)
    finally:
        os.killpg(victim.pid, signal.SIGKILL)
        victim.communicate()


def test_the_labels_say_whose_it_is(client: docker.DockerClient, model: ModelEndpoint) -> None:
    with Sandbox(model=model).start("Work.") as handle:
        next(iter(handle.events()))
        (mine,) = client.api.containers(filters={"label": f"{labels.RUN}={handle.run_id}"})
        assert mine["Labels"][labels.OWNER].split("/")[-2] == str(os.getpid())
    assert not client.api.networks(filters=LABELLED)
