"""What a bad day does to runs: an engine that is killed, containers that cannot be made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from private_engine import open_private_engine
from support import LABELLED, bash, containers, say, wait_until
from traps import state_of

from langchain_sandbox import Limits, Pool, Sandbox, SandboxUnavailableError, Shell
from langchain_sandbox.engine import docker as engine
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import docker

    from langchain_sandbox import SandboxResult

SMALL = Limits(memory="1g", workspace="64m", home="64m", tmp="64m")


def lose_the_engine(sandbox: Sandbox, lose: Callable[[], None]) -> tuple[SandboxResult, float]:
    """A run whose engine goes while its second tool runs, and how long it took to tell."""
    with sandbox.start("Work.") as handle:
        tools = 0
        for event in handle.events():
            tools += event.type == "tool_started"
            if tools == 2:
                break
        lose()
        lost = time.monotonic()
        result = handle.result()
    return result, time.monotonic() - lost


def test_r5_an_engine_that_goes_in_a_run_is_told_and_what_was_left_is_removed(
    client: docker.DockerClient,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    before = state_of(repository)
    turns = [bash("echo one > one.txt"), bash("sleep 60"), say()]
    with open_private_engine(client) as private, ScriptedModel([*turns[:2], *turns]) as model:
        monkeypatch.setenv("DOCKER_HOST", private.url)
        sandbox = Sandbox(model=model.endpoint, workspace=repository, limits=SMALL)
        killed, took = lose_the_engine(sandbox, private.kill)
        assert (killed.status, killed.ending.code) == ("engine_error", "engine_lost")
        assert "went away" in killed.ending.message
        assert "The next run removes" in killed.ending.hint
        assert not killed.evidence.cleanup_confirmed
        assert took < 10
        assert state_of(repository) == before
        assert_nothing_works_without_an_engine(sandbox)
        private.start()
        own = private.connect()
        wait_until(lambda: not own.api.containers(all=True, filters=LABELLED), 20)
        own.close()
        # One that is stopped kills containers first, as `docker kill` does; and runs go on as if nothing had been. It
        # depends on the moment whether it still answers when it is asked how the container ended: both words are true.
        stopped, _ = lose_the_engine(sandbox, private.stop)
    hints = {("crashed", "no_result"): "an engine that was stopped", ("engine_error", "engine_lost"): "The next run"}
    assert hints[stopped.status, stopped.ending.code] in stopped.ending.hint
    assert state_of(repository) == before
    record_property("R5", f"`engine_error` {took:.1f} s after `kill -9`; 0 containers after its restart")


def assert_nothing_works_without_an_engine(sandbox: Sandbox) -> None:
    """The same words for each way, and what to do."""
    ways: list[Callable[[], object]] = [
        lambda: sandbox.run("Work."),
        lambda: sandbox.batch(["Work."]),
        lambda: Shell().execute("true"),
        Sandbox(model=sandbox.model, pool=Pool(1)).warm,
    ]
    for way in ways:
        with pytest.raises(SandboxUnavailableError, match=r"^No container engine answers at unix://.*Start Docker"):
            way()


@pytest.mark.parametrize("fault", ["start", "name"])
def test_r6_a_container_that_cannot_be_started_or_made_leaves_nothing(
    client: docker.DockerClient,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    record_property: Callable[[str, object], None],
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
    record_property("R6", f"{fault} refused: 0 left")
