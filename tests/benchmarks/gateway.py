"""What the way through the link and the gateway adds to a model's first byte.

The relayed client runs where OpenCode's tools run: a real sandbox run is scripted to start it with its bash tool.
After each of its requests it sends one more, a "turn", which is answered only when the client on the host has made
one direct request; so both are interleaved although the container can reach nothing but the relay.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import streaming_client
from pairs import BenchmarkError, Row, Samples, Setup, judge

from langchain_sandbox import Limits, Sandbox
from langchain_sandbox.agent.endpoint import PORT
from langchain_sandbox.config import ModelEndpoint
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from langchain_sandbox.testing.script import Turn

_GOAL = 0.003
_REQUESTS = 200
_PER_RUN = 10
_TIMEOUT = 600.0
_END_LIMIT = 5.0
_ANSWER: Turn = {"text": ["An answer ", "in pieces."]}
_CLIENT = Path(streaming_client.__file__)


def measure(setup: Setup) -> Row:
    """Measure the row `gateway`."""
    count = max(_REQUESTS, setup.runs * _PER_RUN)
    with _model_process(count + 1) as (endpoint, pipe), tempfile.TemporaryDirectory() as folder:
        shutil.copy(_CLIENT, Path(folder, _CLIENT.name))
        sandbox = Sandbox(
            model=endpoint, workspace=folder, image=image_tag(), limits=Limits(model_calls=None), changes="discard"
        )
        result = sandbox.run("Measure.", timeout=_TIMEOUT)
        pipe.send("end")
        pairs: list[tuple[float, float]] = pipe.recv()[1:]
    if len(pairs) != count:
        msg = f"{len(pairs)} of {count} requests were measured; the run was {result.status}: {result.ending.message}"
        raise BenchmarkError(msg)
    relayed, direct = (Samples(list(side)) for side in zip(*pairs, strict=True))
    added = relayed.median - direct.median
    return Row(
        name="gateway",
        ours=relayed,
        baseline=direct,
        unit="ms",
        goal=judge(
            f"adds {added * 1000:.1f} ms at the median, {(relayed.p95 - direct.p95) * 1000:.1f} ms at p95; "
            f"≤ {_GOAL * 1000:g} ms at the median",
            met=added <= _GOAL,
        ),
        what=(
            f"from before the connection to the first byte of a streamed answer, for a request of "
            f"{len(streaming_client.build_body('measure')) // 1000} kB, the size of OpenCode's first. Ours is asked "
            "by a client inside a sandbox, through the endpoint, the link and the gateway; the baseline by the same "
            "client on the host, straight from the model server. The container boundary is included, and so is "
            "whatever OpenCode does while its tool runs. The model server is a process of its own."
        ),
    )


@contextmanager
def _model_process(count: int) -> Iterator[tuple[ModelEndpoint, Connection]]:
    """The model server, and the client that asks it directly, away from this process and its interpreter's lock."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(theirs, count), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ModelEndpoint(ours.recv()), ours
    except EOFError as error:
        msg = "The model server's process ended early; its words are above."
        raise BenchmarkError(msg) from error
    finally:
        ours.close()
        process.join(_END_LIMIT)
        process.kill()


def _serve(pipe: Connection, count: int) -> None:
    """The model server's process: serve until told to end, or until the other side of the pipe is gone."""
    import signal  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C ends the other side, and that ends this one
    with ScriptedModel(lambda _: _ANSWER) as direct, _HostClient(direct.endpoint) as client:
        pairs: list[tuple[float, float]] = []

        def answer(messages: list[dict[str, Any]]) -> Turn:
            words = messages[-1]["content"]
            if isinstance(words, str) and words.startswith(streaming_client.TURN):
                pairs.append((float(words.removeprefix(streaming_client.TURN)), client.measure()))
                return _ANSWER
            if words == streaming_client.MEASURE:
                return _ANSWER
            return _play_agent(messages, count)

        with ScriptedModel(answer) as relayed:
            pipe.send(relayed.endpoint.base_url)
            try:
                pipe.recv()
                pipe.send(pairs)
            except (EOFError, OSError):
                return  # nobody wants them any more


def _play_agent(messages: list[dict[str, Any]], count: int) -> Turn:
    """OpenCode's own part: run the client, then end."""
    if messages[-1]["role"] == "tool":
        return {"text": "Measured."}
    arguments = {
        "command": f"python3 {_CLIENT.name} {PORT} {count}",
        "description": "Measure",
        "timeout": int(_TIMEOUT * 1000),
    }
    return {"tool_calls": [{"name": "bash", "arguments": arguments}]}


class _HostClient:
    """The client on the host: it measures once for each line that it gets."""

    def __init__(self, endpoint: ModelEndpoint) -> None:
        port = endpoint.base_url.removesuffix("/v1").rpartition(":")[2]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CLIENT), port], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # the end of its input ends it

    def measure(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()))
