"""Contestants that only make a container that answers; OpenCode would have to boot after that."""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bare import PREFIX
from board.contestant import Arena, Attempt, Contestant, Entrant, NotHereError
from pairs import BenchmarkError
from startup import start_bare

from langchain_sandbox.config import Limits
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.owner import current_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD = "ready"
_END_LIMIT = 30.0


@contextmanager
def _open_bare(arena: Arena) -> Iterator[Entrant]:
    yield Entrant(attempt=lambda _: Attempt(start_bare(arena.image, Limits())))


@contextmanager
def _open_policy(arena: Arena) -> Iterator[Entrant]:
    if find_spec("langchain") is None:
        msg = "langchain is not installed"
        raise NotHereError(msg)
    yield Entrant(attempt=partial(_start_by_policy, arena))


def _start_by_policy(arena: Arena, _: int) -> Attempt:
    from langchain.agents.middleware import DockerExecutionPolicy  # noqa: PLC0415 - it may not be there

    policy = DockerExecutionPolicy(
        image=arena.image,
        extra_run_args=[
            "--entrypoint=/bin/bash",
            f"--name={_make_name()}",
            f"--label={labels.OWNER}={current_owner()}",
        ],
    )
    began = time.perf_counter()
    process = policy.spawn(workspace=arena.repository, env={}, command=())
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"echo {_WORD}\n")
        process.stdin.flush()
        word = process.stdout.readline().strip()
        took = time.perf_counter() - began
    finally:
        process.stdin.close()  # the end of its input ends the shell, and with it the container
        process.wait(_END_LIMIT)
        process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()
    if word != _WORD:
        msg = f"The shell of DockerExecutionPolicy did not answer, but said {word!r}"
        raise BenchmarkError(msg)
    return Attempt(took)


@contextmanager
def _open_llm_sandbox(arena: Arena) -> Iterator[Entrant]:
    if find_spec("llm_sandbox") is None:
        msg = "llm-sandbox is not installed (pip install -e '.[bench]')"
        raise NotHereError(msg)
    yield Entrant(attempt=partial(_start_by_llm_sandbox, arena))


def _start_by_llm_sandbox(arena: Arena, _: int) -> Attempt:
    from llm_sandbox import SandboxSession  # noqa: PLC0415 - it may not be there

    began = time.perf_counter()
    with SandboxSession(
        image=arena.image,
        lang="python",
        skip_environment_setup=True,
        runtime_configs={
            "name": _make_name(),
            "labels": {labels.OWNER: current_owner()},
            "network_mode": "none",
            "entrypoint": "/bin/sh",
            "stop_signal": "SIGKILL",  # its `close` stops the container, and a shell that is PID 1 hears no other
        },
    ) as session:
        output = session.execute_command(f"echo {_WORD}").stdout.strip()
        took = time.perf_counter() - began
    if output != _WORD:
        msg = f"llm-sandbox's container did not answer, but said {output!r}"
        raise BenchmarkError(msg)
    return Attempt(took)


def _make_name() -> str:
    return f"{PREFIX}{secrets.token_hex(6)}"


BARE = Contestant(
    name="bare container",
    part="container",
    what=(
        "`docker run --rm` of our image with our own flags, from the start of the command to the first byte of a "
        "Python that prints one line."
    ),
    open=_open_bare,
)
CONTAINERS = [
    BARE,
    Contestant(
        name="DockerExecutionPolicy",
        part="container",
        what=(
            "LangChain's policy for its shell tool (`langchain.agents.middleware`), in our image: `spawn`, its own "
            "flags, the repository mounted, until the shell has answered a first `echo`. No network; not read-only, "
            "no capability dropped, as is its default."
        ),
        open=_open_policy,
    ),
    Contestant(
        name="llm-sandbox",
        part="container",
        what=(
            "`SandboxSession` of llm-sandbox in our image, without the environment that it would set up and without a "
            "network, until `execute_command` has answered a first `echo`; its removal is not counted."
        ),
        open=_open_llm_sandbox,
    ),
]
