"""One run with what happens to it, and what came of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker

from langchain_sandbox import Sandbox, SandboxError
from langchain_sandbox.engine import labels
from langchain_sandbox.testing import ScriptedModel
from soak.forwarder import Forwarder
from soak.plan import DEADLINE, GRACE, HOST_KILLED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.testing import Turn
    from soak.plan import Planned

_CHILD = Path(__file__).with_name("child.py")
_STANDSTILL = 3.0
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
        seconds: From its start to the result.
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
        early = self.planned.fault.name in {"engine out of reach", "link corrupted"} and self.status == "raised"
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
        status, words = (_play_apart if planned.fault.apart else _play_here)(planned, model)
        return Outcome(planned=planned, status=status, words=words, seconds=time.monotonic() - began)


def _play_here(planned: Planned, model: ScriptedModel) -> tuple[str, str]:
    try:
        with (
            Sandbox(model=model.endpoint, timeout=DEADLINE).start("Work.") as handle,
            _later(planned.at, _strike, planned.fault.name, handle),
        ):
            result = handle.result()
    except SandboxError as error:
        return "raised", str(error)
    return result.status, f"{result.ending.code}: {result.ending.message}"


def _play_apart(planned: Planned, model: ScriptedModel) -> tuple[str, str]:
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
                "link corrupted": forwarder.spoil,
            }
            with _later(planned.at, acts[planned.fault.name]):
                output, _ = process.communicate(timeout=DEADLINE + 2 * GRACE)
        told: dict[str, Any] = {}
        for line in output.splitlines():
            told |= json.loads(line)
        if "status" in told:
            return str(told["status"]), str(told["words"])
        if "raised" in told:
            return "raised", str(told["words"])
        return ("killed", "") if process.returncode == -signal.SIGKILL else ("silent", f"exit {process.returncode}")


@contextmanager
def _later(seconds: float, act: Any, *arguments: Any) -> Iterator[None]:
    """Do something after a while, unless it is over before."""
    over = threading.Event()

    def wait() -> None:
        if not over.wait(seconds):
            act(*arguments)

    thread = threading.Thread(target=wait, name="fault")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _strike(fault: str, handle: Any) -> None:
    if fault == "cancelled":
        handle.cancel()
        return
    client = docker.from_env()
    try:
        with suppress(docker.errors.APIError, IndexError, OSError):  # it is not there yet, or not any more
            (container,) = client.containers.list(filters={"label": f"{labels.RUN}={handle.run_id}"})
            match fault:
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
    except ValueError:
        pass  # there is no such container, or no OpenCode in it
    finally:
        client.close()


def _find_opencode(client: docker.DockerClient, container: Any) -> int:
    told = client.api.top(container.id)
    column, words = told["Titles"].index("PID"), told["Titles"].index("CMD")
    (pid,) = [int(row[column]) for row in told["Processes"] if "opencode serve" in row[words]]
    return pid


def _bash(command: str) -> Turn:
    return {"text": "", "tool_calls": [{"name": "bash", "arguments": {"command": command, "description": "soak"}}]}
