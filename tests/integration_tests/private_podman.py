"""A Podman service of a test's own, which speaks Docker's API: images, containers and socket in a folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

from langchain_sandbox.engine.images.package_image import image_tag

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMIT = 30.0
# Debian's crun does not start where both versions of cgroups are mounted; runc does.
_SETTINGS = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""


@contextmanager
def open_private_podman(client: docker.DockerClient) -> Iterator[str]:
    """The address of one with the sandbox image; skipped where there is no Podman, or no root.

    Args:
        client: Another engine, which has the image.
    """
    podman = shutil.which("podman")
    if podman is None or shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin") is None or os.geteuid() != 0:
        pytest.skip("a Podman service of one's own needs podman, runc and root")
    folder = Path(tempfile.mkdtemp(prefix="lsp-", dir="/tmp"))  # a socket's path has to be short
    (folder / "containers.conf").write_text(_SETTINGS)
    own = [podman, "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp"]
    environment = os.environ | {"CONTAINERS_CONF": f"{folder}/containers.conf"}
    url = f"unix://{folder}/podman.sock"
    with (folder / "log").open("ab") as log:
        command = [*own, "system", "service", "--time=0", url]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        _wait(url, process, folder / "log")
        engine = docker.DockerClient(base_url=url, version="auto")
        engine.images.load(b"".join(client.images.get(image_tag()).save(named=True)))
        engine.close()
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        subprocess.run([*own, "rm", "--all", "--force"], env=environment, check=False, capture_output=True)
        for place in _mounts_below(folder):
            subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    began = time.monotonic()
    while True:
        with suppress(docker.errors.DockerException, OSError):
            docker.DockerClient(base_url=url, version="auto").close()
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() - began < _LIMIT, log.read_text()
        time.sleep(0.1)


def _mounts_below(folder: Path) -> list[str]:
    """What lies deepest comes first."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return sorted((place for place in mounts if place.startswith(f"{folder}/")), reverse=True)
