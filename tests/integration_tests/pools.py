"""What tests of the pool share: a model that does as the task says, and a look at spares from the host's side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import docker
import docker.errors
from support import LABELLED, bash, outputs, say

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.owner import current_owner

if TYPE_CHECKING:
    from langchain_sandbox import Sandbox, SandboxResult
    from langchain_sandbox.testing import Turn

SPARE = "langchain-sandbox-spare-"


def obey(messages: list[dict[str, Any]]) -> Turn:
    """Run the shell command that the task is; one that begins with `FAIL` is answered with an error after that."""
    task = next(str(message["content"]) for message in messages if message["role"] == "user")
    if messages[-1]["role"] != "tool":
        return bash(task.removeprefix("FAIL "))
    return {"fault": "unauthorized"} if task.startswith("FAIL ") else say()


def spares(client: docker.DockerClient, owner: str | None = None) -> set[str]:
    """Names of the spares that there are, whatever they do.

    Args:
        client: The engine's.
        owner: The process that they belong to; this one by default.
    """
    return {
        name.lstrip("/")
        for item in client.api.containers(all=True, filters=LABELLED)
        for name in item["Names"]
        if item["Labels"][labels.OWNER] == (owner or current_owner()) and name.lstrip("/").startswith(SPARE)
    }


def processes(client: docker.DockerClient, container: str) -> list[tuple[int, str, str]]:
    """The processes in a container, as the host sees them: number, state, command."""
    listed = client.api.top(container, ps_args="-eo pid,stat,args")["Processes"]
    return [(int(pid), state, command) for pid, state, command in listed]


def opencode_of(client: docker.DockerClient, container: str) -> tuple[int, str]:
    """OpenCode's server in a container: its number on the host, and its state."""
    return next((pid, state) for pid, state, command in processes(client, container) if "opencode serve" in command)


def asleep(client: docker.DockerClient) -> set[str]:
    """Names of the spares of this process that wait for a task."""
    return {name for name in spares(client) if is_asleep(client, name)}


def is_asleep(client: docker.DockerClient, container: str) -> bool:
    """Whether OpenCode is stopped in a container."""
    try:
        return opencode_of(client, container)[1].startswith("T")
    except (docker.errors.APIError, StopIteration):
        return False  # it is just made, or on its way out


class Ran(NamedTuple):
    """A run that is over."""

    result: SandboxResult
    container: str
    printed: list[str]


def run_in(sandbox: Sandbox, task: str, **options: Any) -> Ran:
    """Run a task; what came of it, in which container, and what its tools have printed."""
    with sandbox.start(task, **options) as handle:
        happened = list(handle.events())
        container = next(event.container for event in happened if event.type == "started")
        return Ran(handle.result(), container, outputs(happened))
