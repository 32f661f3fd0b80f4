"""A blank checkout with nothing but the compose files, under a project name of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from compose_binary import find_compose

from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.result import SandboxResult

if TYPE_CHECKING:
    from collections.abc import Callable

    import docker

ROOT = Path(__file__).parents[2]
FILES = ("compose.headless.yml", "compose.yml")
_LIMIT = 90.0


@dataclass(frozen=True, slots=True)
class Done:
    """How `compose run` ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def result(self) -> SandboxResult:
        """The one JSON object on standard output."""
        (line,) = self.stdout.splitlines()
        return SandboxResult.model_validate_json(line)


class Checkout:
    """The folder, and compose in it.

    Args:
        folder: Made here.
        model: The model server's address; none is in the environment without it.
    """

    def __init__(self, folder: Path, *, model: str | None) -> None:
        folder.mkdir()
        for name in FILES:
            shutil.copy(ROOT / name, folder)
        self.folder = folder
        self.name = f"langchain-sandbox-test-{secrets.token_hex(4)}"
        self.environment = {"SANDBOX_IMAGE": image_tag(), **({"SANDBOX_MODEL_BASE_URL": model} if model else {})}

    @property
    def workspace(self) -> Path:
        """Where the files are, by default."""
        return self.folder / "workspace"

    def command(self, *arguments: str, file: str = "compose.headless.yml") -> list[str]:
        """A compose command line."""
        return [*find_compose(), "--project-name", self.name, "--file", file, *arguments]

    def start(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        """Begin a run of the service, as a user does."""
        return subprocess.Popen(
            self.command("run", "--rm", *options, "opencode"),
            cwd=self.folder,
            env=os.environ | self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, task: str | None = None, **environment: str) -> Done:
        """Run the service to its end."""
        return self.finish(self.start(**({"TASK": task} if task is not None else {}), **environment))

    def finish(self, process: subprocess.Popen[str]) -> Done:
        """Wait for the end of a run."""
        stdout, stderr = process.communicate(timeout=_LIMIT)
        print(stderr)
        return Done(process.returncode, stdout, stderr)

    def down(self) -> None:
        """Take everything down, as the documentation says."""
        for file in FILES:
            subprocess.run(
                self.command("down", "--volumes", "--timeout", "1", file=file),
                cwd=self.folder,
                env=os.environ | self.environment,
                check=True,
                capture_output=True,
            )

    def remains(self, client: docker.DockerClient) -> dict[str, str]:
        """What of this project the engine has: containers with their state, volumes and networks."""
        filters = {"label": f"com.docker.compose.project={self.name}"}
        found = {
            item["Names"][0].lstrip("/"): item["State"] for item in client.api.containers(all=True, filters=filters)
        }
        found |= {item["Name"]: "volume" for item in client.api.volumes(filters=filters)["Volumes"] or []}
        found |= {item["Name"]: "network" for item in client.api.networks(filters=filters)}
        return {name.removeprefix(f"{self.name}").lstrip("-_"): state for name, state in found.items()}


Open: TypeAlias = "Callable[..., Checkout]"
"""Makes a checkout; the fixture of that name."""
