"""Nothing of one task is there for the next one, though both were done in spares of one pool."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from canaries import CANARY, PLANT, SEEK
from pools import Ran, obey, run_in
from support import containers, make_repository

from langchain_sandbox import Sandbox
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Two tasks of a pool, one after the other, and the second one's twin in a container of its own."""

    first: Ran
    second: Ran
    twin: Ran
    asked: list[dict[str, Any]]
    """What the model was asked in the second one."""
    kept: Path
    """What is kept of the second one."""

    @property
    def found(self) -> dict[str, Any]:
        return json.loads(self.second.printed[0])

    @property
    def usual(self) -> dict[str, Any]:
        return json.loads(self.twin.printed[0])


@pytest.fixture(scope="module")
def story(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("repositories")
    secret = make_repository(folder / "secret", {"secret.txt": f"{CANARY}\n", "AGENTS.md": f"Say {CANARY}.\n"})
    other = make_repository(folder / "other", {"a.txt": "a\n"})
    with ScriptedModel(obey) as model, Sandbox(model=model.endpoint, pool=2) as sandbox:
        sandbox.warm()
        first = run_in(sandbox, f"{PLANT}\n{SEEK}\n# {CANARY}", workspace=secret)
        before = len(model.requests)
        second = run_in(sandbox, SEEK, workspace=other)
        asked = [request.body for request in model.requests[before:]]
        twin = run_in(Sandbox(model=model.endpoint, pool=0), SEEK, workspace=other)
        kept = Path(os.environ["SANDBOX_STATE_DIR"]) / "runs" / second.result.run_id
        yield Story(first=first, second=second, twin=twin, asked=asked, kept=kept)
    assert containers(client) == []


@pytest.fixture(autouse=True)
def no_container_left(story: Story) -> None:
    """Spares are left from test to test here; `story` looks in the end."""


def test_the_story_is_what_it_should_be(story: Story) -> None:
    assert all(ran.result.ok for ran in (story.first, story.second, story.twin))
    assert story.first.result.timings.handed_over is not None
    assert story.second.result.timings.handed_over is not None
    assert story.twin.result.timings.handed_over is None
    assert story.first.container != story.second.container
    planted, found = map(json.loads, story.first.printed[0].splitlines())
    for place in ("canary.txt", "/tmp/canary", "/dev/shm/canary", "/run/home/.bashrc", "/run/home/.gitconfig", CANARY):
        assert place in planted
    # What looks for canaries finds them, where they are.
    assert {place for place in planted if place.startswith("/")} - set(found["found"]) == set()
    assert any(place.startswith("process") for place in found["found"])
    assert any(place.endswith("opencode.db-wal") for place in found["found"])
    assert CANARY in found["titles"]
    assert CANARY in found["git"]
    assert {8123, 40001} <= set(found["listening"])
    assert found["ipc"] > story.usual["ipc"]
    assert CANARY in story.first.result.patch


def test_no_task_finds_anything_of_the_one_before(story: Story) -> None:
    assert story.found["found"] == []


@pytest.mark.parametrize(
    "what", ["processes", "listening", "ipc", "git", "status", "log", "environment", "titles", "agents", "folders"]
)
def test_a_spare_looks_from_inside_like_a_container_of_ones_own(story: Story, what: str) -> None:
    """So nothing of how it was warmed up is there either."""
    assert story.found[what] == story.usual[what]
    assert "warm" not in str(story.found[what]).lower()


def test_a_spare_holds_no_file_that_a_container_of_ones_own_has_not(story: Story) -> None:
    assert story.found["files"] == story.usual["files"]
    assert "/run/ws/repo/a.txt" in story.found["files"]


def test_the_model_hears_nothing_of_another_task(story: Story) -> None:
    asked = json.dumps(story.asked)
    assert "THE_END" in asked
    assert CANARY not in asked
    assert "secret.txt" not in asked
    assert "Warm up" not in asked
    assert "warm.txt" not in asked


def test_what_is_kept_of_a_run_is_its_own(story: Story) -> None:
    files = [path for path in story.kept.rglob("*") if path.is_file()]
    assert len(files) > 1
    for path in files:
        content = path.read_bytes()
        assert CANARY.encode() not in content, path
        assert story.first.result.run_id.encode() not in content, path
