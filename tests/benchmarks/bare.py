"""Containers as one would start them by hand, with the docker command; the baselines."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from pairs import BenchmarkError

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.hardening import USER, build_host_config
from langchain_sandbox.engine.owner import current_owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_sandbox.config import Limits

PREFIX = "langchain-sandbox-bench-"  # of all names that benchmarks give
_TAIL = 2000
_END_LIMIT = 30.0


def build_flags(limits: Limits) -> list[str]:
    """The package's own walls as flags of `docker run`, made from the same description, so that they stay the same."""
    host = build_host_config(limits)
    flags = [
        "--interactive",
        f"--user={USER}",
        "--hostname=sandbox",
        "--workdir=/",
        f"--network={host['NetworkMode']}",
        "--read-only",
        f"--pids-limit={host['PidsLimit']}",
        f"--memory={host['Memory']}",
        f"--memory-swap={host['MemorySwap']}",
        f"--cpus={host['NanoCpus'] / 1_000_000_000}",
        f"--shm-size={host['ShmSize']}",
        f"--ipc={host['IpcMode']}",
        f"--log-driver={host['LogConfig']['Type']}",
    ]
    flags += [f"--cap-drop={name}" for name in host["CapDrop"]]
    flags += [f"--security-opt={option}" for option in host["SecurityOpt"]]
    flags += [f"--tmpfs={path}:{options}" for path, options in host["Tmpfs"].items()]
    flags += [f"--ulimit={limit['Name']}={limit['Soft']}:{limit['Hard']}" for limit in host["Ulimits"]]
    return flags


@contextmanager
def docker_run(flags: Sequence[str], image: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a container with the docker command for the length of a block; nothing of it is left afterwards.

    Its standard output is a pipe and its standard input is empty.

    Raises:
        BenchmarkError: If there is no docker command, or it fails; the message has its last words.
    """
    name = f"{PREFIX}{secrets.token_hex(6)}"
    docker = find_docker()
    # The package's label: should we be killed, the next run of anybody's collects what is left.
    mine = ["--rm", f"--name={name}", f"--label={labels.OWNER}={current_owner()}"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [docker, "run", *mine, *flags, image, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # a Ctrl-C is for us, and we take the container away
        )
        try:
            yield process
            code = process.wait(_END_LIMIT)
        except BaseException:
            process.kill()
            process.wait()
            subprocess.run([docker, "rm", "--force", name], capture_output=True, check=False)
            raise
        finally:
            assert process.stdout is not None
            process.stdout.close()
        if code != 0:
            msg = f"docker run ended with {code}: {_read_tail(errors)}"
            raise BenchmarkError(msg)


def find_docker() -> str:
    """Path of the docker command.

    Raises:
        BenchmarkError: If there is none.
    """
    found = shutil.which("docker")
    if found is None:
        msg = "The baselines need the docker command; it is not on PATH."
        raise BenchmarkError(msg)
    return found


def _read_tail(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read()[-_TAIL:].decode("utf-8", "replace").strip()
