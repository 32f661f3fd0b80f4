"""How long until there is a container that answers: ours to `ready`, a bare one to its program's first byte."""

from __future__ import annotations

import secrets
import statistics
import subprocess
import time
from contextlib import AsyncExitStack
from functools import partial

import anyio
from anyio.from_thread import start_blocking_portal
from bare import build_flags, docker_run, find_docker
from pairs import BenchmarkError, Row, Setup, interleave, judge

from langchain_sandbox.config import Limits
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.address import find_engine
from langchain_sandbox.engine.base import ContainerSpec
from langchain_sandbox.engine.connection import Connection
from langchain_sandbox.engine.docker import DockerContainer, DockerEngine
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.link import LinkEvent, Message

_GOAL = 1.5
_READY_LIMIT = 30.0
_END_LIMIT = 10.0
_PROGRAM = ["-I", "-S", "-c", "print(1, flush=True)"]


def measure(setup: Setup) -> Row:
    """Measure the row `start`."""
    limits = Limits()
    with start_blocking_portal() as portal:
        engine = portal.call(_open_engine)
        ours, baseline = interleave(
            partial(portal.call, _start_ours, engine, setup.image, limits),
            partial(start_bare, setup.image, limits),
            runs=setup.runs,
        )
    ratio = ours.median / baseline.median
    return Row(
        name="start",
        ours=ours,
        baseline=baseline,
        unit="s",
        goal=judge(f"≤ {_GOAL:g} x", met=ratio <= _GOAL),
        what=(
            "ours from before the container is created to the `ready` message of the program in it, over the real "
            "engine and link (create, events, attach, start, hardening, link), in a process that is connected to the "
            "engine already. The baseline is `docker run --rm` of the same image with the same flags and a Python "
            "that prints one line, from the start of the command to that line's first byte; of that, the command "
            f"itself takes {_time_command() * 1000:.0f} ms (`docker --version`). OpenCode boots after this."
        ),
    )


async def _open_engine() -> DockerEngine:
    return DockerEngine(find_engine())


async def _start_ours(engine: DockerEngine, image: str, limits: Limits) -> float:
    run_id = secrets.token_hex(6)
    spec = ContainerSpec(
        name=f"langchain-sandbox-bench-{run_id}",
        image=image,
        limits=limits,
        labels={labels.OWNER: current_owner(), labels.RUN: run_id},
    )
    ready = anyio.Event()
    took = 0.0

    def on_event(event: LinkEvent) -> None:
        nonlocal took
        if isinstance(event, Message) and event.body.get("type") == "ready":
            took = time.perf_counter() - began
            ready.set()

    async with AsyncExitStack() as stack:
        began = time.perf_counter()
        container = await engine.create(spec)
        stack.push_async_callback(_take_away, container)
        stream = await container.attach()
        stack.push_async_callback(stream.aclose)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(Connection(stream, on_event=on_event).run)
        await container.start()
        with anyio.move_on_after(_READY_LIMIT):
            await ready.wait()
        tasks.cancel_scope.cancel()
    if not ready.is_set():
        msg = f"the program in the container was not ready within {_READY_LIMIT:g} s: {stream.stderr_tail[-500:]}"
        raise BenchmarkError(msg)
    return took


async def _take_away(container: DockerContainer) -> None:
    """Wait until the container, whose stream was closed, has removed itself; else remove it."""
    with anyio.CancelScope(shield=True):
        ended = False
        with anyio.move_on_after(_END_LIMIT):
            ended = not (await container.wait()).lost
        if not ended:
            await container.remove()
        await container.aclose()


def start_bare(image: str, limits: Limits) -> float:
    """Seconds until a hardened container's program has said something, by `docker run`."""
    flags = [*build_flags(limits), "--entrypoint=python3"]
    began = time.perf_counter()
    with docker_run(flags, image, _PROGRAM) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        return time.perf_counter() - began


def _time_command() -> float:
    """What the docker command takes only to be there."""

    def once() -> float:
        began = time.perf_counter()
        subprocess.run([find_docker(), "--version"], capture_output=True, check=True)
        return time.perf_counter() - began

    return statistics.median(once() for _ in range(5))
