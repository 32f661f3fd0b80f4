"""A whole task, ours against the arrangement that this project grew out of; `seed/` has that one's files."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bare import docker_run
from coding_task import CALLS, FILES, TASK, answer, is_done, make_repository
from cold_task import LEAST_RUNS, TIMEOUT, open_sandbox, run_ours
from compose_project import ComposeProject, compose_project
from pairs import BenchmarkError, Row, Setup, interleave, judge

from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.config import ModelEndpoint

_GOAL = 1.0
_FILE = Path(__file__).parent / "seed" / "compose.headless.yml"
_HOST = "host.docker.internal"
_ANYBODY = 1000  # where we are root: the seed refuses to work for root


def measure(setup: Setup) -> Row:
    """Measure the row `seed`."""
    with ScriptedModel(answer, host=find_gateway(setup.image)) as model, tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "repository")
        make_repository(repository)
        with open_seed(setup.image, model.endpoint, Path(folder, "copy")) as seed:
            ours, baseline = interleave(
                partial(run_ours, open_sandbox(model.endpoint, repository), []),
                partial(run_seed, seed, repository),
                runs=max(LEAST_RUNS, setup.runs),
            )
    return Row(
        name="seed",
        ours=ours,
        baseline=baseline,
        unit="s",
        goal=judge(f"≤ {_GOAL:g} x", met=ours.median <= _GOAL * baseline.median),
        what=(
            f"the same task of {CALLS} on the same repository of {FILES} files. Ours is `Sandbox.run`, as in `cold "
            "task`. The baseline is the arrangement that this project grew out of (tests/benchmarks/seed, after "
            "docker-coding-agent-sandbox and the headless mode proposed there), in the same image: `TASK=... docker "
            "compose run --rm opencode`, that is PUID and PGID, chown, gosu and `opencode run`, on the bridge network "
            "and straight to the model server, until the container is gone. Before the clock starts it has a copy of "
            "the repository to mount and, from the first pair on, its network; it is spared the look at models.dev "
            "and the look for updates. It makes no patch and does not check what was done; ours does both."
        ),
    )


@dataclass(frozen=True, slots=True)
class Seed:
    """The seed's arrangement, ready to be given tasks.

    Args:
        project: Its Compose project.
        workspace: The folder that is mounted; it is there during a run only.
    """

    project: ComposeProject
    workspace: Path


@contextmanager
def open_seed(image: str, endpoint: ModelEndpoint, workspace: Path) -> Iterator[Seed]:
    """The seed's arrangement for the length of a block; nothing of it is left afterwards.

    Args:
        image: Id of the sandbox image, which it uses as well.
        endpoint: A model server that listens at `find_gateway`.
        workspace: A folder that does not exist yet.
    """
    _, _, port = endpoint.base_url.removesuffix("/v1").rpartition(":")
    uid, gid = _find_ids()
    environment = {
        "SANDBOX_IMAGE": image,
        "SANDBOX_OWNER": current_owner(),
        "MODEL_BASE_URL": f"http://{_HOST}:{port}/v1",
        "WORKSPACE": str(workspace),
        "TASK": TASK,
        "PUID": str(uid),
        "PGID": str(gid),
    }
    with compose_project(_FILE, environment) as project:
        yield Seed(project, workspace)


def run_seed(seed: Seed, repository: Path) -> float:
    """Have the task done in the seed's arrangement, in a fresh copy of the repository.

    Raises:
        BenchmarkError: If the task was not done.
    """
    shutil.copytree(repository, seed.workspace)
    try:
        _give_away(seed.workspace)
        began = time.perf_counter()
        output = seed.project.run("opencode", timeout=TIMEOUT)
        took = time.perf_counter() - began
        if not is_done(seed.workspace):
            msg = f"The seed's run did not do its task; its last words: {output[-1000:]!r}"
            raise BenchmarkError(msg)
        return took
    finally:
        shutil.rmtree(seed.workspace)


def find_gateway(image: str) -> str:
    """Where a program on this machine must listen so that containers on a bridge reach it by its name.

    The engine is asked by way of a container, since it alone knows what it puts in for `host-gateway`.

    Raises:
        BenchmarkError: If the engine cannot say.
    """
    flags = [f"--add-host={_HOST}:host-gateway", "--entrypoint=getent"]
    with docker_run(flags, image, ["ahostsv4", _HOST]) as process:
        output, _ = process.communicate(timeout=TIMEOUT)
    words = output.decode("ascii", "replace").split()
    if not words:
        msg = f"The engine does not say where {_HOST} is."
        raise BenchmarkError(msg)
    return words[0]


def _find_ids() -> tuple[int, int]:
    uid, gid = os.getuid(), os.getgid()
    return uid or _ANYBODY, gid or _ANYBODY


def _give_away(workspace: Path) -> None:
    """Make the copy belong to whom the seed works for; that is us already, unless we are root."""
    uid, gid = _find_ids()
    for folder, _, names in os.walk(workspace):
        for path in (folder, *(os.path.join(folder, name) for name in names)):  # noqa: PTH118 - os.walk gives text
            os.chown(path, uid, gid)
