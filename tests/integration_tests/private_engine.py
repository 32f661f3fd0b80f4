"""An engine of a test's own, which can be killed: dockerd with its data, its socket and its containerd in a folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import docker
import pytest

from langchain_sandbox.engine.images.package_image import image_tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LIMIT = 60.0


class PrivateEngine:
    """Made by `open_private_engine`."""

    def __init__(self, folder: Path, dockerd: str) -> None:
        self._folder = folder
        # In a network of its own: one without a bridge removes docker0, which is that of the machine's own engine.
        self._command = [
            "unshare",
            "--net",
            dockerd,
            f"--config-file={folder}/daemon.json",
            f"--host=unix://{folder}/engine.sock",
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid",
            "--bridge=none",
            "--iptables=false",
            "--log-level=error",
        ]
        self.url = f"unix://{folder}/engine.sock"
        self._process: subprocess.Popen[bytes]

    def start(self) -> Self:
        """Start it, anew too, and wait until it answers."""
        self._end("containerd")  # one that was killed has left its own, beside which there can be no other
        for left in ("pid", "exec/containerd/containerd.pid"):  # its number may be one that nobody has collected yet
            (self._folder / left).unlink(missing_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        began = time.monotonic()
        while True:
            with suppress(docker.errors.DockerException, OSError):
                self.connect().close()
                return self
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() - began < _LIMIT, (self._folder / "log").read_text()
            time.sleep(0.2)

    def connect(self) -> docker.DockerClient:
        """Somebody who asks it."""
        client = docker.DockerClient(base_url=self.url, version="auto")
        client.ping()
        return client

    def kill(self) -> None:
        """End it without a word: what it started goes on."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Have it end, as by `systemctl stop`: it kills the containers first."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)

    def close(self) -> None:
        """End it and whatever it has started."""
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self._end()
        self._process.wait()
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
        for place in sorted((each for each in mounts if each.startswith(f"{self._folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)

    def _end(self, name: str | None = None) -> None:
        """Kill whatever is left of it, all or one program, and wait until that is gone."""
        deadline = time.monotonic() + 10
        while (rest := self._find_rest(name)) and time.monotonic() < deadline:
            for pid in rest:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)

    def _find_rest(self, name: str | None) -> list[int]:
        """Whoever runs by a command that names our folder, or that program alone."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    command = (entry / "cmdline").read_bytes()
                    if str(self._folder).encode() in command and name in {None, Path(_first(command)).name}:
                        found.append(int(entry.name))
        return found


def _first(command: bytes) -> str:
    return command.partition(b"\0")[0].decode("utf-8", "replace")


@contextmanager
def open_private_engine(
    client: docker.DockerClient, *, runtimes: Mapping[str, Sequence[str]] | None = None
) -> Iterator[PrivateEngine]:
    """One with the sandbox image; skipped where there is no dockerd, or no root.

    Args:
        client: Another engine, which has the image.
        runtimes: OCI runtimes that it knows besides its own: the program and its options, by name.
    """
    dockerd = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if dockerd is None or os.geteuid() != 0:
        pytest.skip("an engine of one's own needs dockerd and root")
    folder = Path(tempfile.mkdtemp(prefix="lse-", dir="/tmp"))  # a socket's path has to be short
    engine = PrivateEngine(folder, dockerd)
    known = {name: {"path": path, "runtimeArgs": options} for name, (path, *options) in (runtimes or {}).items()}
    (folder / "daemon.json").write_text(json.dumps({"runtimes": known}))
    try:
        engine.start()
        try:
            own = engine.connect()
            own.images.load(b"".join(client.images.get(image_tag()).save(named=True)))
            own.close()
            yield engine
        finally:
            engine.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
