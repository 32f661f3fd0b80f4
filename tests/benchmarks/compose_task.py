"""A whole task by our own compose file, against the arrangement that this project grew out of."""

from __future__ import annotations

import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from coding_task import TASK, answer, is_done, is_patch, make_repository
from cold_task import LEAST_RUNS, TIMEOUT
from compose_project import ComposeProject, compose_project
from pairs import BenchmarkError, Row, Setup, interleave, judge
from seed_task import find_gateway, give_away, open_seed, run_seed

from langchain_sandbox.result import SandboxResult
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from langchain_sandbox.config import ModelEndpoint

_GOAL = 1.0
_FILE = Path(__file__).parents[2] / "compose.headless.yml"


def measure(setup: Setup) -> Row:
    """Measure the row `compose`."""
    with ScriptedModel(answer, host=find_gateway(setup.image)) as model, tempfile.TemporaryDirectory() as folder:
        repository, workspace = Path(folder, "repository"), Path(folder, "ours")
        make_repository(repository)
        environment = _build_environment(setup.image, model.endpoint, workspace)
        with (
            open_seed(setup.image, model.endpoint, Path(folder, "seed")) as seed,
            compose_project(_FILE, environment) as project,
        ):
            ours, baseline = interleave(
                partial(_run_ours, project, repository, workspace),
                partial(run_seed, seed, repository),
                runs=max(LEAST_RUNS, setup.runs),
            )
    return Row(
        name="compose",
        ours=ours,
        baseline=baseline,
        unit="s",
        goal=judge(f"≤ {_GOAL:g} x", met=ours.median <= _GOAL * baseline.median),
        what=(
            "the same task by `docker compose run` on both sides: ours with compose.headless.yml, where the gateway "
            "service starts with the run, the repository is copied and what was changed is written back; the baseline "
            "as in `seed`."
        ),
    )


def _build_environment(image: str, endpoint: ModelEndpoint, workspace: Path) -> dict[str, str]:
    return {
        "SANDBOX_IMAGE": image,
        "SANDBOX_MODEL_BASE_URL": endpoint.base_url,
        "WORKSPACE": str(workspace),
        "TASK": TASK,
    }


def _run_ours(project: ComposeProject, repository: Path, workspace: Path) -> float:
    shutil.copytree(repository, workspace)
    try:
        give_away(workspace)
        began = time.perf_counter()
        output = project.run("opencode", timeout=TIMEOUT)
        took = time.perf_counter() - began
        if not is_patch(SandboxResult.model_validate_json(output).patch) or not is_done(workspace):
            msg = f"Our compose file's run did not do its task: {output[-1000:]!r}"
            raise BenchmarkError(msg)
        return took
    finally:
        shutil.rmtree(workspace)
