"""A host that dies, or stands still, at any step: nothing of its run stays, in whatever it was in the middle of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import LABELLED, make_repository, wait_until
from traps import state_of
from victim import GRACE, STEPS, TIMEOUT

from langchain_sandbox.agent import main as agent
from langchain_sandbox.engine import labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

VICTIM = Path(__file__).with_name("victim.py")
UNSTARTED = {"made", "attached"}
ALLOWED = 10.0  # after the deadline, by the checklist


class Place:
    """A host's folders, and its processes.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.repository = make_repository(
            folder / "repository", {"big.bin": os.urandom(3_000_000), "README.md": "# a\n"}
        )
        self._environment = os.environ | {"TMPDIR": str(self.temporary), "SANDBOX_STATE_DIR": str(folder / "state")}
        self.victims: list[subprocess.Popen[str]] = []

    def start(self, step: str) -> subprocess.Popen[str]:
        """A host that dies at a step."""
        return self._start([sys.executable, str(VICTIM), step, str(self.repository)])

    def collect(self) -> None:
        """Remove what dead hosts have left."""
        assert self._start([sys.executable, "-c", "from langchain_sandbox.cli import main; main()", "gc"]).wait(60) == 0

    def left(self) -> list[str]:
        """Temporary folders of ours."""
        return [path.name for path in self.temporary.glob("langchain-sandbox-*")]

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        self.victims.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self._environment,
                cwd=VICTIM.parent,
            )
        )
        return self.victims[-1]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for victim in place.victims:
        victim.kill()
        victim.communicate()


def of(client: docker.DockerClient, pid: int) -> list[str]:
    """The containers of a process, in whatever state."""
    listed = client.api.containers(all=True, filters=LABELLED)
    return [item["Names"][0] for item in listed if item["Labels"][labels.OWNER].split("/")[-2] == str(pid)]


def test_r1_w2_at_whatever_step_a_host_dies_nothing_stays(
    client: docker.DockerClient, place: Place, record_property: Callable[[str, object], None]
) -> None:
    before = state_of(place.repository)

    def watch(step: str) -> float:
        """How long after its host a container was gone, where the host had started it."""
        victim = place.start(step)
        code = victim.wait(60)
        died = time.monotonic()
        assert code == -signal.SIGKILL, (step, victim.communicate())
        if step not in UNSTARTED:
            wait_until(lambda: of(client, victim.pid) == [], 2.0)
        return time.monotonic() - died

    with ThreadPoolExecutor(len(STEPS)) as threads:
        longest = max(threads.map(watch, STEPS))
    assert place.left()  # there was something to remove
    place.collect()
    assert [name for victim in place.victims for name in of(client, victim.pid)] == []
    assert place.left() == []
    assert state_of(place.repository) == before
    record_property(
        "R1", f"killed at {len(STEPS)} steps: gone within {longest:.1f} s, or with the next run; trees as before"
    )


def test_r3_a_container_ends_by_itself_where_its_host_stands_still(client: docker.DockerClient, place: Place) -> None:
    since = int(time.time())
    victim = place.start("hold")
    assert victim.stdout is not None
    words = victim.stdout.readline().split()
    assert words[:1] == ["run"], victim.communicate()
    victim.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: of(client, victim.pid) == [], TIMEOUT + GRACE + ALLOWED)
        filters = {"event": "die", "label": f"{labels.RUN}={words[1]}"}
        (end,) = client.api.events(since=since, until=int(time.time()) + 1, decode=True, filters=filters)
    finally:
        victim.kill()
    assert end["Actor"]["Attributes"]["exitCode"] == str(agent.EXIT_DEADLINE)
    assert agent._DEADLINE_GRACE <= ALLOWED  # here it had less, to be quick
