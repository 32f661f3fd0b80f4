"""Spares on the real engine: booted ahead, asleep, handed out once, replaced, and gone with whoever had them made."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from pools import asleep, obey, opencode_of, processes, run_in, spares
from support import containers, git, make_repository, say, wait_until

from langchain_sandbox import Limits, Revision, Sandbox
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import docker

pytestmark = pytest.mark.usefixtures("hasty_spares")
SIZE = 2


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(obey) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def pooled(client: docker.DockerClient, model: ScriptedModel) -> Iterator[Sandbox]:
    """What most tests here share. A test that needs a full pool warms it up."""
    with Sandbox(model=model.endpoint, pool=SIZE) as sandbox:
        yield sandbox
    assert containers(client) == []


@pytest.fixture(autouse=True)
def no_container_left(pooled: Sandbox) -> None:
    """Spares are left from test to test here; `pooled` looks in the end."""


@pytest.fixture
def plain(model: ScriptedModel) -> Any:
    """Makes sandboxes that boot containers of their own, or use a pool that is there."""
    return lambda **options: Sandbox(**{"model": model.endpoint, "pool": 0, **options})


def test_spares_sleep_until_they_are_needed(client: docker.DockerClient, pooled: Sandbox) -> None:
    pooled.warm()
    names = spares(client)
    assert len(names) == SIZE
    for name in names:
        wait_until(lambda name=name: opencode_of(client, name)[1].startswith("T"), 5)
    used, seconds = _cpu(client, names), 3.0
    time.sleep(seconds)
    assert _cpu(client, names) - used < 0.01 * seconds * len(names)
    pooled.warm()  # it is full
    assert spares(client) == names


def _cpu(client: docker.DockerClient, names: set[str]) -> float:
    """Seconds of a core that containers have taken."""
    told = [client.api.stats(name, stream=False, one_shot=True) for name in names]
    return sum(each["cpu_stats"]["cpu_usage"]["total_usage"] for each in told) / 1e9


def wait_for_one(client: docker.DockerClient, pooled: Sandbox) -> set[str]:
    """The spares that are ready, of which there is one at least."""
    if not asleep(client):
        pooled.warm()
    return asleep(client)


def test_any_repository_is_worked_on_in_a_spare_of_its_own(
    client: docker.DockerClient, pooled: Sandbox, tmp_path: Path
) -> None:
    """With and without a history, and none at all; each spare is gone then, and there are others."""
    small = make_repository(tmp_path / "small", {"a.txt": "a\n"})
    old = make_repository(tmp_path / "old", {"b.txt": "b\n"})
    git(old, "commit", "--quiet", "--allow-empty", "-m", "second")
    used = []
    for workspace, listed in ((small, "a.txt"), (old, "b.txt"), (None, "")):
        there = wait_for_one(client, pooled)
        task = "ls; git log --oneline 2> /dev/null | wc -l; git status --short; echo changed > new.txt"
        result, container, printed = run_in(pooled, task, workspace=workspace)
        assert result.ok
        assert result.timings.handed_over is not None
        assert result.timings.created is None
        assert container in there
        assert [change.path for change in result.files] == ["new.txt"]
        assert printed[0].split() == [*listed.split(), "2" if workspace is old else "1" if listed else "0"]
        assert result.evidence.cleanup_confirmed is False
        used.append(container)
        wait_until(lambda container=container: container not in spares(client), 10)
    assert len(set(used)) == len(used)


AGENTS = "Speak like a clerk.\n"
COMMAND = (
    "---\ndescription: Looks.\noutput:\n  type: object\n  properties: {n: {type: integer}}\n---\nLook at $1: !`ls`\n"
)


def test_the_model_is_asked_the_same_as_in_a_container_of_ones_own(
    client: docker.DockerClient, pooled: Sandbox, plain: Any, repository: Path
) -> None:
    (repository / "AGENTS.md").write_text(AGENTS)
    (repository / ".opencode/commands").mkdir(parents=True)
    (repository / ".opencode/commands/look.md").write_text(COMMAND)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "second")

    def answer(messages: list[dict[str, Any]]) -> Any:
        del messages
        return say()

    with ScriptedModel(answer) as scripted:
        cold = plain(model=scripted.endpoint)
        warm = plain(model=scripted.endpoint, pool=pooled)
        first = cold.run("echo a > new.txt", workspace=repository)
        asked = {
            "task": {"task": "Do it."},
            "command": {"command": "look", "arguments": "calc.py"},
            "revision": {"revision": Revision(first, "Again.")},
        }
        for name, options in asked.items():
            requests = []
            for sandbox in (cold, warm):
                if sandbox is warm:
                    wait_for_one(client, pooled)
                before = len(scripted.requests)
                result = sandbox.run(**options, workspace=repository)
                assert (result.timings.handed_over is not None) == (sandbox is warm), name
                requests.append(scripted.requests[before].body)
            assert requests[0] == requests[1], name
            assert "clerk" in str(requests[1]["messages"])


def test_a_burst_that_is_larger_than_the_pool_is_served_all_the_same(
    client: docker.DockerClient, pooled: Sandbox
) -> None:
    pooled.warm()
    results = pooled.batch([f"touch {number}" for number in range(SIZE + 1)])
    assert [result.files[0].path for result in results] == [str(number) for number in range(SIZE + 1)]
    assert all(result.ok for result in results)
    assert sum(result.timings.handed_over is not None for result in results) == SIZE
    assert not {name for name in containers(client) if "spare" not in name}


@pytest.mark.parametrize(
    ("task", "options", "status"),
    [
        ("FAIL true", {}, "model_error"),
        ("echo half > half.txt; sleep 60", {"timeout": 4.0}, "timeout"),
        ("echo half > half.txt; sleep 60", {}, "cancelled"),
    ],
    ids=["model fails", "timeout", "cancelled"],
)
def test_a_run_that_ends_badly_ends_as_in_a_container_of_its_own(
    client: docker.DockerClient, pooled: Sandbox, task: str, options: dict[str, Any], status: str
) -> None:
    wait_for_one(client, pooled)
    with pooled.start(task, **options) as handle:
        for event in handle.events():
            if event.type == "started":
                container = event.container
            elif event.type == "tool_started" and status == "cancelled":
                wait_until(partial(_sleeps, client, container), 5)
                handle.cancel()
        result = handle.result()
    assert result.status == status
    assert result.timings.handed_over is not None
    assert [change.path for change in result.files] == ([] if status == "model_error" else ["half.txt"])
    wait_until(lambda: container not in spares(client), 10)


def _sleeps(client: docker.DockerClient, container: str) -> bool:
    return any(command.startswith("sleep 60") for _, _, command in processes(client, container))


def test_a_spare_that_is_not_well_is_never_handed_out(client: docker.DockerClient, pooled: Sandbox) -> None:
    pooled.warm()
    killed, removed = sorted(spares(client))
    os.kill(opencode_of(client, killed)[0], signal.SIGKILL)
    client.api.remove_container(removed, force=True)
    wait_until(lambda: not spares(client) & {killed, removed}, 5)
    pooled.warm()
    assert len(spares(client)) == SIZE
    silent, well = sorted(spares(client))
    for pid, _, command in processes(client, silent):
        if "/opt/langchain-sandbox" in command:
            os.kill(pid, signal.SIGSTOP)
    containers_used = {run_in(pooled, "true").container for _ in range(SIZE)}
    assert silent not in containers_used
    assert well in containers_used
    wait_until(lambda: silent not in spares(client), 10)


# The last test with the shared pool: afterwards the pool is one of two kinds.


def test_what_a_spare_was_not_made_for_is_done_in_another_container(pooled: Sandbox, plain: Any) -> None:
    pooled.warm()
    result = plain(pool=pooled, limits=Limits(memory="1g")).run("true")
    assert result.ok
    assert result.timings.handed_over is None
