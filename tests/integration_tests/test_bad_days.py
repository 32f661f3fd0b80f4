"""What a bad day does to runs: an engine that is killed, containers that cannot be made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from private_engine import open_private_engine
from support import LABELLED, bash, containers, say, wait_until
from traps import state_of

from langchain_sandbox import Sandbox, SandboxUnavailableError
from langchain_sandbox.engine import docker as engine
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import docker


def test_r5_an_engine_that_is_killed_is_told_and_what_was_left_is_removed(
    client: docker.DockerClient,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    before = state_of(repository)
    turns = [bash("echo one > one.txt"), bash("sleep 60"), say()]
    with open_private_engine(client) as private, ScriptedModel([*turns, say()]) as model:
        monkeypatch.setenv("DOCKER_HOST", private.url)
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        with sandbox.start("Work.") as handle:
            tools = 0
            for event in handle.events():
                tools += event.type == "tool_started"
                if tools == 2:
                    private.kill()
                    killed = time.monotonic()
                    break
            result = handle.result()
        took = time.monotonic() - killed
        assert (result.status, result.ending.code) == ("engine_error", "engine_lost")
        assert "went away" in result.ending.message
        assert "The next run removes" in result.ending.hint
        assert not result.evidence.cleanup_confirmed
        assert took < 10
        assert state_of(repository) == before
        with pytest.raises(SandboxUnavailableError, match=r"No container engine answers"):
            sandbox.run("Work.")
        private.start()
        own = private.connect()
        # What an owner that lives has left goes with it; what a restart of the engine has not taken, with the next run.
        with ScriptedModel([say()]) as other:
            assert Sandbox(model=other.endpoint).run("Nothing.").ok
        wait_until(lambda: not own.api.containers(all=True, filters=LABELLED), 20)
        own.close()
    record_property("R5", f"`engine_error` {took:.1f} s after `kill -9`; 0 containers after its restart")


@pytest.mark.parametrize("fault", ["start", "name"])
def test_r6_a_container_that_cannot_be_started_or_made_leaves_nothing(
    client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    taken = None
    if fault == "start":
        monkeypatch.setattr(engine, "PROGRAM", ["/nonexistent"])
    else:
        name = "langchain-sandbox-aaaaaaaaaaaa"
        monkeypatch.setattr("langchain_sandbox.request.secrets.token_hex", lambda _size: "aaaaaaaaaaaa")
        taken = client.containers.create(image_tag(), name=name, labels={labels.OWNER: current_owner()})
    try:
        with ScriptedModel([]) as model, pytest.raises(SandboxUnavailableError, match="The engine refused"):
            Sandbox(model=model.endpoint).run("Work.")
        assert containers(client) == ([f"/{taken.name}"] if taken else [])
    finally:
        if taken is not None:
            taken.remove(force=True)
