"""The pool behind the faces: servers fill it when they start and leave nothing; a command that runs once has none."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mcp_sides import RUN, http_server, stdio
from pools import SPARE, is_asleep, obey
from support import LABELLED, wait_until

from langchain_sandbox.engine import labels
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(obey) as scripted:
        yield scripted


def spares_of_children(client: docker.DockerClient) -> list[str]:
    """Names of the spares that processes have which this one has started."""
    return [
        item["Names"][0]
        for item in client.api.containers(all=True, filters=LABELLED)
        if item["Names"][0].lstrip("/").startswith(SPARE) and _is_child(item["Labels"][labels.OWNER].split("/")[-2])
    ]


def _is_child(pid: str) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return int(status.rpartition(")")[2].split()[1]) == os.getpid()


def timings(state: Path) -> list[dict[str, float | None]]:
    return [json.loads(path.read_bytes())["timings"] for path in state.glob("runs/*/result.json")]


async def test_an_mcp_server_fills_its_pool_when_it_starts_and_takes_it_along(
    client: docker.DockerClient, model: ScriptedModel, repository: Path, tmp_path: Path
) -> None:
    options = ["--workspace", str(repository), "--model", model.endpoint.base_url]
    async with stdio(*options, folder=repository, environ={"SANDBOX_POOL_SIZE": "1"}) as peer:
        await asyncio.to_thread(wait_until, lambda: spares_of_children(client), 20)
        first = spares_of_children(client)
        await peer.list_tools()  # the catalogue is read anew, and the pool is the same
        await asyncio.to_thread(wait_until, lambda: is_asleep(client, first[0].lstrip("/")), 60)
        result = await peer.call_tool(RUN, {"task": "echo a > a.txt"})
        assert not result.is_error
    assert timings(tmp_path / "state")[0]["handed_over"] is not None
    assert len(first) == 1
    assert spares_of_children(client) == []


def test_a_server_that_is_stopped_leaves_no_spare(
    client: docker.DockerClient, model: ScriptedModel, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_POOL_SIZE", "1")
    options = ["--workspace", str(repository), "--model", model.endpoint.base_url]
    with http_server(*options, folder=repository) as (_, process):
        wait_until(lambda: spares_of_children(client), 20)
        process.terminate()
        process.wait(20)
        names = client.api.containers(all=True, filters=LABELLED)
        assert not [item for item in names if f"/{process.pid}/" in item["Labels"][labels.OWNER]]


def test_a_server_without_a_model_server_says_so_in_its_log_and_serves(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_POOL_SIZE", "1")
    options = ["--workspace", str(repository), "--model", "http://127.0.0.1:9/v1"]
    with http_server(*options, folder=repository) as (_, process):
        assert process.stderr is not None
        line = next(line for line in process.stderr if "pool" in line)
        assert "Nothing can be warmed up" in line
        assert process.poll() is None


def test_a_command_that_runs_once_boots_no_spare(
    client: docker.DockerClient, model: ScriptedModel, repository: Path
) -> None:
    environment = os.environ | {"SANDBOX_POOL_SIZE": "2", "SANDBOX_MODEL_BASE_URL": model.endpoint.base_url}
    command = [sys.executable, "-m", "langchain_sandbox", "run", "--workspace", str(repository), "sleep 5"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        seen = []
        while process.poll() is None:
            seen += spares_of_children(client)
            time.sleep(0.2)
    assert process.returncode == 0
    assert seen == []
