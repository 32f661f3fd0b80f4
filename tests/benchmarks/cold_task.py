"""A whole task with nothing warm: `Sandbox.run` against `opencode run` in a container started by hand."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bare import docker_run
from coding_task import CALLS, FILES, TASK, answer, is_done, is_patch, make_repository
from pairs import BenchmarkError, Row, Setup, interleave

from langchain_sandbox import Sandbox
from langchain_sandbox.agent.opencode import REPOSITORY
from langchain_sandbox.config import Limits
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from langchain_sandbox.config import ModelEndpoint
    from langchain_sandbox.result import Timings

LEAST_RUNS = 5
TIMEOUT = 120.0


def measure(setup: Setup) -> Row:
    """Measure the row `cold task`."""
    with ScriptedModel(answer) as model, tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "repository")
        make_repository(repository)
        timings: list[Timings] = []
        ours, baseline = interleave(
            partial(run_ours, open_sandbox(model.endpoint, repository), timings),
            partial(run_bare, setup.image, repository, Path(folder, "copy"), model.endpoint),
            runs=max(LEAST_RUNS, setup.runs),
        )
    return Row(
        name="cold task",
        ours=ours,
        baseline=baseline,
        unit="s",
        goal="none set",
        what=(
            f"a task of {CALLS} on a git repository of {FILES} files. Ours is "
            "`Sandbox.run`: preflight, snapshot, history, hardened container, OpenCode's boot, task, patch, container "
            "gone. The baseline is `docker run --rm --network host` of the same image, not hardened, with a copy of "
            "the repository mounted (made before the clock starts) and `opencode run --format json --title t` in it, "
            "until the container is gone; it is spared the look at models.dev and the look for updates. Ours passed "
            f"these moments, in seconds at the median: {_render_timings(timings[1:])}."
        ),
    )


def open_sandbox(endpoint: ModelEndpoint, repository: Path, **options: Any) -> Sandbox:
    """A sandbox as a caller would make it, whatever this machine's environment says.

    Args:
        endpoint: The model.
        repository: What it works on.
        **options: What else `Sandbox` is to be given.
    """
    return Sandbox(
        model=endpoint,
        workspace=repository,
        image=image_tag(),
        limits=Limits(),
        changes="return",
        timeout=TIMEOUT,
        **options,
    )


def run_ours(sandbox: Sandbox, timings: list[Timings]) -> float:
    """Have the task done by the package; `timings` grows by the run's own.

    Raises:
        BenchmarkError: If the task was not done, or the container is not known to be gone.
    """
    began = time.perf_counter()
    result = sandbox.run(TASK)
    took = time.perf_counter() - began
    if not result.ok or not is_patch(result.patch) or not result.evidence.cleanup_confirmed:
        msg = f"Our run did not do its task: {result.status}, {result.ending.message}"
        raise BenchmarkError(msg)
    timings.append(result.timings)
    return took


def _render_timings(timings: list[Timings]) -> str:
    moments: dict[str, list[float]] = {}
    for name, seconds in (item for timing in timings for item in timing.model_dump().items()):
        if seconds is not None:  # as the moment at which a spare was handed over
            moments.setdefault(name, []).append(seconds)
    return ", ".join(f"{name} {statistics.median(seconds):.2f}" for name, seconds in moments.items())


def run_bare(image: str, repository: Path, copy: Path, endpoint: ModelEndpoint) -> float:
    """Have the task done by `opencode run` in a container, in a fresh copy of the repository.

    Raises:
        BenchmarkError: If the task was not done.
    """
    shutil.copytree(repository, copy)
    try:
        flags = [
            "--network=host",
            f"--volume={copy}:{REPOSITORY}",
            f"--workdir={REPOSITORY}",
            # Whoever runs this must be able to delete what it leaves in the copy.
            f"--user={os.getuid()}:{os.getgid()}",
            "--env=HOME=/tmp",
            "--env=OPENCODE_DISABLE_AUTOUPDATE=1",
            "--env=OPENCODE_DISABLE_MODELS_FETCH=1",
            f"--env=OPENCODE_CONFIG_CONTENT={json.dumps(build_config(endpoint))}",
            "--entrypoint=opencode",
        ]
        command = ["run", "--format", "json", "--title", "t", "-m", "sandbox/model", TASK]
        began = time.perf_counter()
        with docker_run(flags, image, command) as process:
            output, _ = process.communicate(timeout=TIMEOUT)
        took = time.perf_counter() - began
        if not is_done(copy):
            msg = f"The bare run did not do its task; its last words: {output[-1000:]!r}"
            raise BenchmarkError(msg)
        return took
    finally:
        shutil.rmtree(copy)


def build_config(endpoint: ModelEndpoint) -> dict[str, Any]:
    """As little as OpenCode needs to know of the model."""
    return {
        "model": "sandbox/model",
        "small_model": "sandbox/model",
        "enabled_providers": ["sandbox"],
        "provider": {
            "sandbox": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "sandbox",
                "options": {"baseURL": endpoint.base_url, "apiKey": "none"},
                "models": {"model": {"name": "model", "limit": {"context": 131072, "output": 8192}}},
            }
        },
    }
