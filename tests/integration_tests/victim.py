"""A host process that is going to be killed: it runs one task and prints a line for each event."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from langchain_sandbox import Limits, Sandbox
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.engine.base import ContainerSpec
from langchain_sandbox.engine.docker import DockerEngine
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.engine.owner import current_owner


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


if __name__ == "__main__":
    if sys.argv[1:] == ["orphan"]:
        asyncio.run(die_between_create_and_start())
    else:
        run()
