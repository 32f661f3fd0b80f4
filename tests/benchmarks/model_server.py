"""The scripted model in a process of its own, so that its work does not hold up the interpreter that is measured."""

from __future__ import annotations

import multiprocessing
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from coding_task import answer
from pairs import BenchmarkError

from langchain_sandbox.config import ModelEndpoint
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_END_LIMIT = 5.0


@contextmanager
def open_model(host: str) -> Iterator[ModelEndpoint]:
    """A model that knows the coding task, for the length of a block.

    Args:
        host: Where it listens.

    Raises:
        BenchmarkError: If its process ends early.
    """
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(theirs, host), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ModelEndpoint(_receive(ours))
    finally:
        ours.close()  # that ends it
        process.join(_END_LIMIT)
        process.kill()


def _receive(pipe: Connection) -> str:
    try:
        return str(pipe.recv())
    except EOFError as error:
        msg = "The model server's process ended early; its words are above."
        raise BenchmarkError(msg) from error


def _serve(pipe: Connection, host: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C ends the other side, and that ends this one
    with ScriptedModel(answer, host=host) as model:
        pipe.send(model.endpoint.base_url)
        pipe.poll(None)  # nothing is ever sent: it is the other side's end
