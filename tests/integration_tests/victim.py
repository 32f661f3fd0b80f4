"""A host process that is going to be killed: it runs one task and prints a line for each event.

With an argument it kills itself, at one step of what every run does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_sandbox import Limits, Sandbox, Shell, preparation
from langchain_sandbox.collect import Collector
from langchain_sandbox.dialogue import Dialogue
from langchain_sandbox.engine import docker, labels
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.engine.base import ContainerSpec
from langchain_sandbox.engine.docker import DockerEngine
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.link import Channel
from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE = 1.0
TIMEOUT = 3.0


def run() -> None:
    with Sandbox().start("Work.") as handle:
        print(f"run {handle.run_id}", flush=True)
        for event in handle.events():
            print(event.type, flush=True)
        print(f"result {handle.result().status}", flush=True)


async def die_between_create_and_start() -> None:
    spec = ContainerSpec(
        name=f"langchain-sandbox-orphan-{os.getpid()}",
        image=image_tag(),
        limits=Limits(),
        labels={labels.OWNER: current_owner(), labels.RUN: "orphan"},
    )
    await DockerEngine(find_engine()).create(spec)
    print("created", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_after(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*arguments: object, **options: object) -> None:
        await function(*arguments, **options)
        _die()

    return call


async def _send_a_piece(dialogue: Dialogue, file: Any, stream: int) -> None:
    await dialogue._link.send_data(file.read(1000), channel=Channel.FILES, stream=stream)
    await asyncio.sleep(0.1)  # so that it is on its way
    _die()


def _receive_a_piece(_receiver: ChangesReceiver, _event: object) -> None:
    _die()


def _collect(_collector: Collector, *_arguments: object) -> None:
    _die()


async def _find_no_fault(*_arguments: object, **_options: object) -> None:
    """The engine holds everybody to limits."""


STEPS: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "made": (DockerEngine, "create", _die_after(DockerEngine.create)),
    "attached": (DockerEngine, "attach", _die_after(DockerEngine.attach)),
    "started": (DockerEngine, "start", _die_after(DockerEngine.start)),
    "files go in": (Dialogue, "_send_file", _send_a_piece),
    "files come out": (ChangesReceiver, "on_event", _receive_a_piece),
    "files are looked at": (Collector, "collect", _collect),
}
"""Where it is, what it is called, and what is done instead."""


def die_at(step: str, workspace: Path) -> None:
    """Work in a copy of a folder, and die at a step. A shell's run takes the same ones as a task's, and is quick."""
    owner, name, instead = STEPS[step]
    preparation.require_limits = _find_no_fault  # else it would be in the trial of the engine that it dies
    setattr(owner, name, instead)
    with Shell(workspace=workspace) as shell:
        shell.execute("head -c 3000000 /dev/urandom > new")
        shell.finish()


def hold(workspace: Path) -> None:
    """Have a container that will not end by itself, and say which."""
    program = f"""import sys
sys.path.insert(0, "/opt/langchain-sandbox")
from langchain_sandbox.agent import main
main._DEADLINE_GRACE = {GRACE}
main.main()
"""
    docker.PROGRAM = ["/usr/bin/python3", "-I", "-S", "-c", program]
    resist = (
        "trap '' TERM INT HUP; (trap '' TERM; setsid sh -c 'while :; do sleep 1; done' &) ; while :; do sleep 1; done"
    )
    with Shell(workspace=workspace, timeout=TIMEOUT) as shell:
        shell.execute("true")
        print(f"run {shell.run_id}", flush=True)
        shell.execute(resist)


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            run()
        case ["orphan"]:
            asyncio.run(die_between_create_and_start())
        case ["hold", folder]:
            hold(Path(folder))
        case [step, folder]:
            die_at(step, Path(folder))
