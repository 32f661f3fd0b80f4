"""One service of a Compose file, run as often as one likes; at the end its network and volumes are gone too."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from compose_binary import find_compose
from pairs import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_TAIL = 2000
_DOWN_LIMIT = 60.0


class ComposeProject:
    """A Compose file under a project name of its own, so that nobody else's containers can be meant.

    Args:
        file: The Compose file.
        environment: What the file takes from the environment, beside the caller's own.
    """

    def __init__(self, file: Path, environment: Mapping[str, str]) -> None:
        name = f"langchain-sandbox-bench-{secrets.token_hex(6)}"
        self._command = [*find_compose(), "--project-name", name, "--file", str(file)]
        self._environment = {**os.environ, **environment}

    def run(self, service: str, *, timeout: float, arguments: Sequence[str] = ()) -> str:
        """Run the service once, until its container is gone, and return what it printed.

        Raises:
            BenchmarkError: If it fails, or takes longer than `timeout` seconds; the message has its last words.
        """
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            try:
                done = subprocess.run(
                    [*self._command, "run", "--rm", "--no-TTY", service, *arguments],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    encoding="utf-8",
                    errors="replace",
                    timeout=timeout,
                    check=False,
                    start_new_session=True,  # a Ctrl-C is for us, and `down` takes the container away
                )
            except subprocess.TimeoutExpired as error:
                msg = f"compose run {service} took longer than {timeout:g} s"
                raise BenchmarkError(msg) from error
            if done.returncode != 0:
                errors.seek(0)
                msg = f"compose run {service} ended with {done.returncode}: {errors.read()[-_TAIL:].strip()}"
                raise BenchmarkError(msg)
            return done.stdout

    def down(self) -> None:
        """Remove whatever the project made: containers of runs that were broken off, network, volumes."""
        subprocess.run(
            [*self._command, "down", "--volumes", "--remove-orphans", "--timeout", "1"],
            env=self._environment,
            capture_output=True,
            timeout=_DOWN_LIMIT,
            check=False,
            start_new_session=True,
        )


@contextmanager
def compose_project(file: Path, environment: Mapping[str, str]) -> Iterator[ComposeProject]:
    """A Compose project for the length of a block.

    Raises:
        BenchmarkError: If there is no Compose here.
    """
    try:
        project = ComposeProject(file, environment)
    except LookupError as error:
        raise BenchmarkError(str(error)) from error
    try:
        yield project
    finally:
        project.down()
