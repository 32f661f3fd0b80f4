"""One run with what happens to it, and what came of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker

from langchain_sandbox import Sandbox, SandboxError
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.testing import ScriptedModel
from soak.forwarder import Forwarder
from soak.plan import DEADLINE, GRACE, HOST_KILLED, NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_sandbox.handle import RunHandle
    from langchain_sandbox.testing import Turn
    from soak.plan import Planned

_CHILD = Path(__file__).with_name("child.py")
_STANDSTILL = 3.0
_POLL = 0.2
_EARLY = {"engine out of reach", "output damaged", "input damaged"}
_BROKEN: dict[str, Turn] = {
    "model breaks off": {"text": ["half an ", "answer"], "fault": "cut"},
    "model refuses": {"text": "", "fault": "http_500"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run.

    Args:
        planned: What was to happen.
        status: How it ended; `raised` if it was not tried, `killed` if its host was.
        words: The ending's, for people.
        seconds: From the container's start to the result; where there was none, from the beginning.
    """

    planned: Planned
    status: str
    words: str
    seconds: float

    @property
    def right(self) -> bool:
        """Whether that is an ending that the fault leads to."""
        endings = self.planned.fault.endings
        # Where the engine is out of reach from the beginning there is nothing that could be tried.
        early = self.planned.fault.name in _EARLY and self.status == "raised"
        return self.status in endings or early or (self.planned.fault == HOST_KILLED and self.status == "killed")

    @property
    def late(self) -> bool:
        """Whether it took longer than it may."""
        return self.seconds > DEADLINE + GRACE


def play(planned: Planned) -> Outcome:
    """Have a run take place, with what happens to it.

    Args:
        planned: The run.
    """
    turns: list[Turn] = [_bash("echo one > one.txt"), _bash("sleep 0.5; echo two > two.txt"), {"text": "Done."}]
    broken = _BROKEN.get(planned.fault.name)
    if broken is not None:
        turns[1:] = [broken] * 8
    with ScriptedModel(turns) as model:
        began = time.monotonic()
        status, words, waited = (_play_apart if planned.fault.apart else _play_here)(planned, model)
        return Outcome(planned=planned, status=status, words=words, seconds=time.monotonic() - began - waited)


def _play_here(planned: Planned, model: ScriptedModel) -> tuple[str, str, float]:
    try:
        with (
            Sandbox(model=model.endpoint, timeout=DEADLINE).start("Work.") as handle,
            _later(planned, _strike, handle),
        ):
            result = handle.result()
    except SandboxError as error:
        return "raised", str(error), 0.0
    return result.status, f"{result.ending.code}: {result.ending.message}", result.timings.started or 0.0


def _play_apart(planned: Planned, model: ScriptedModel) -> tuple[str, str, float]:
    with Forwarder() as forwarder:
        environment = os.environ | {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url}
        if planned.fault != HOST_KILLED:
            environment["DOCKER_HOST"] = forwarder.url
        command = [sys.executable, str(_CHILD), str(DEADLINE)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            acts = {
                "host killed": process.kill,
                "engine out of reach": forwarder.cut,
                "engine slow": forwarder.slow_down,
                "output damaged": forwarder.damage_output,
                "input damaged": forwarder.damage_input,
            }
            with _later(planned, _after, acts[planned.fault.name]):
                output, _ = process.communicate(timeout=DEADLINE + 2 * GRACE)
        told: dict[str, Any] = {}
        for line in output.splitlines():
            told |= json.loads(line)
        if "status" in told:
            return str(told["status"]), str(told["words"]), float(told["started"])
        if "raised" in told:
            return "raised", str(told["words"]), 0.0
        killed = process.returncode == -signal.SIGKILL
        return ("killed", "", 0.0) if killed else ("silent", f"exit {process.returncode}", 0.0)


@contextmanager
def _later(planned: Planned, act: Callable[[Planned, Any, threading.Event], None], handle: Any) -> Iterator[None]:
    """Have something happen beside the run."""
    over = threading.Event()
    thread = threading.Thread(target=act, args=(planned, handle, over), name="fault")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _after(planned: Planned, act: Callable[[], None], over: threading.Event) -> None:
    """Do it so long after the run's process began; nothing if it is over before."""
    if not over.wait(planned.at):
        act()


def _strike(planned: Planned, handle: RunHandle, over: threading.Event) -> None:
    """Do it to a run of this process, so long after its container began; nothing if it is over before."""
    if planned.fault == NONE:
        return
    with closing(find_engine().connect()) as client:
        container = _find_container(client, handle, over)
        if container is None or over.wait(planned.at):
            return
        with suppress(docker.errors.APIError, OSError, ValueError):  # it is over just now
            match planned.fault.name:
                case "cancelled":
                    handle.cancel()
                case "container killed":
                    container.kill()
                case "container stands still":
                    container.pause()
                    time.sleep(_STANDSTILL)
                    container.unpause()
                case "OpenCode killed":
                    os.kill(_find_opencode(client, container), signal.SIGKILL)
                case "OpenCode stands still":
                    pid = _find_opencode(client, container)
                    os.kill(pid, signal.SIGSTOP)
                    time.sleep(_STANDSTILL)
                    os.kill(pid, signal.SIGCONT)


def _find_container(client: docker.DockerClient, handle: RunHandle, over: threading.Event) -> Any:
    """The run's container as soon as it runs; `None` if that does not come."""
    while not over.wait(_POLL):
        if found := client.containers.list(filters={"label": f"{labels.RUN}={handle.run_id}"}):
            return found[0]
    return None


def _find_opencode(client: docker.DockerClient, container: Any) -> int:
    told = client.api.top(container.id)
    column, words = told["Titles"].index("PID"), told["Titles"].index("CMD")
    (pid,) = [int(row[column]) for row in told["Processes"] if "opencode serve" in row[words]]
    return pid


def _bash(command: str) -> Turn:
    return {"text": "", "tool_calls": [{"name": "bash", "arguments": {"command": command, "description": "soak"}}]}
