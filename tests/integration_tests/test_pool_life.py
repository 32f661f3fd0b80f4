"""Pools of one's own: filled, closed, forgotten, given up, and gone with their process."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from pools import obey, opencode_of, spares
from support import wait_until

from langchain_sandbox import ModelEndpoint, Pool, Sandbox, SandboxConfigError, SandboxUnavailableError
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

pytestmark = pytest.mark.usefixtures("hasty_spares")


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(obey) as scripted:
        yield scripted


@pytest.fixture
def plain(model: ScriptedModel) -> Any:
    """Makes sandboxes of a test's own."""
    return lambda **options: Sandbox(**{"model": model.endpoint, **options})


def test_a_pool_keeps_to_its_memory_and_lets_go_of_what_nobody_needs(client: docker.DockerClient, plain: Any) -> None:
    sandbox = plain(pool=Pool(size=4, idle=2.0, memory="800m"))
    sandbox.warm()
    assert 1 <= len(spares(client)) <= 2
    wait_until(lambda: not spares(client), 10)
    time.sleep(1.0)
    assert not spares(client)  # and none in its place
    sandbox.close()


def test_nothing_is_left_of_a_sandbox_that_is_closed_or_forgotten(client: docker.DockerClient, plain: Any) -> None:
    forgotten = plain(pool=1)
    forgotten.warm()
    assert len(spares(client)) == 1
    del forgotten
    gc.collect()
    wait_until(lambda: not spares(client), 5)

    async def close() -> None:
        async with plain(pool=1) as sandbox:
            await sandbox.awarm()
            assert len(spares(client)) == 1
            await sandbox.aclose()
            assert not spares(client)
            with pytest.raises(SandboxConfigError, match="the sandbox is closed"):
                await sandbox.awarm()
            assert not spares(client)

    asyncio.run(close())


def test_warming_up_can_be_given_up(client: docker.DockerClient, plain: Any) -> None:

    async def give_up() -> None:
        async with plain(pool=2) as sandbox:
            first, second = (asyncio.ensure_future(sandbox.awarm()) for _ in range(2))
            await asyncio.to_thread(wait_until, lambda: spares(client), 10)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            closing = asyncio.ensure_future(sandbox.aclose())
            with pytest.raises(SandboxUnavailableError, match="closed"):
                await second
            await closing

    asyncio.run(give_up())
    assert not spares(client)


@pytest.mark.parametrize(
    ("options", "host", "words"),
    [
        ({}, "unix:///nowhere/docker.sock", "No container engine answers at"),
        ({"image": "nobody/made-this:1"}, None, "Pull or build it"),
        ({"model": ModelEndpoint("http://127.0.0.1:9/v1", "m")}, None, "Nothing can be warmed up"),
    ],
    ids=["no engine", "no image", "no model"],
)
def test_a_pool_that_cannot_be_filled_says_why(
    plain: Any, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], host: str | None, words: str
) -> None:
    if host is not None:
        monkeypatch.setenv("DOCKER_HOST", host)
    with plain(pool=1, **options) as sandbox, pytest.raises(SandboxUnavailableError, match=words):
        sandbox.warm()


VICTIM = """
import os, time
from langchain_sandbox import Sandbox
from langchain_sandbox.engine.owner import current_owner
sandbox = Sandbox(pool=1)
sandbox.warm()
if os.fork() == 0:
    time.sleep(60)
    os._exit(0)
print(current_owner(), flush=True)
time.sleep(60)
"""


def test_spares_die_with_their_process_even_asleep(client: docker.DockerClient, model: ScriptedModel) -> None:
    """A child of `fork` that lives on does not keep them."""
    environment = os.environ | {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url}
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM], stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        assert victim.stdout is not None
        owner = victim.stdout.readline().strip()
        assert owner != current_owner()
        assert len(spares(client, owner)) == 1
        victim.kill()
        wait_until(lambda: not spares(client, owner), 3)
    finally:
        os.killpg(victim.pid, signal.SIGKILL)
        victim.communicate()


def test_a_container_in_which_opencode_does_not_come_up_is_told_of(client: docker.DockerClient, plain: Any) -> None:
    with plain(pool=1) as sandbox:
        warming = asyncio.new_event_loop()
        try:
            told = warming.run_until_complete(_kill_while_booting(client, sandbox))
        finally:
            warming.close()
    assert "OpenCode ended with" in told


async def _kill_while_booting(client: docker.DockerClient, sandbox: Sandbox) -> str:
    warming = asyncio.ensure_future(sandbox.awarm())

    def kill() -> bool:
        for name in spares(client):
            try:
                os.kill(opencode_of(client, name)[0], signal.SIGKILL)
            except (StopIteration, ProcessLookupError, OSError):
                continue
            except Exception:  # noqa: BLE001 - the engine's, while the container does not run yet
                continue
            return True
        return False

    await asyncio.to_thread(wait_until, kill, 10)
    with pytest.raises(SandboxUnavailableError) as raised:
        await warming
    return str(raised.value)
