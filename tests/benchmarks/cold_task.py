"""A whole task with nothing warm: `Sandbox.run` against `opencode run` in a container started by hand."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bare import docker_run
from pairs import BenchmarkError, Row, Setup, interleave

from langchain_sandbox import Sandbox
from langchain_sandbox.agent.opencode import REPOSITORY
from langchain_sandbox.config import Limits
from langchain_sandbox.engine.image import image_tag
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from langchain_sandbox.config import ModelEndpoint
    from langchain_sandbox.result import Timings
    from langchain_sandbox.testing.script import Turn

_FILES = 50
_LEAST_RUNS = 5
_TIMEOUT = 120.0
_TASK = "Give module 7 another answer."
_EDITED = "package_2/module_07.py"
_BEFORE, _AFTER = "return 7", "return 42"
_MODULE = '"""Module {number}."""\n\n\ndef answer() -> int:\n    """Say what it is."""\n    return {number}\n'

_TURNS: list[Turn] = [
    {"tool_calls": [{"name": "bash", "arguments": {"command": "ls -R && git log -1", "description": "Look"}}]},
    {
        "tool_calls": [
            {
                "name": "edit",
                # Both sides have the repository at the same place, so that one script fits both.
                "arguments": {"filePath": f"{REPOSITORY}/{_EDITED}", "oldString": _BEFORE, "newString": _AFTER},
            }
        ]
    },
    {"tool_calls": [{"name": "bash", "arguments": {"command": "git diff --stat", "description": "Check"}}]},
    {"text": "Module 7 answers 42 now."},
]


def measure(setup: Setup) -> Row:
    """Measure the row `cold task`."""
    with ScriptedModel(_answer) as model, tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "repository")
        _make_repository(repository)
        sandbox = Sandbox(
            model=model.endpoint,
            workspace=repository,
            image=image_tag(),
            limits=Limits(),
            changes="return",
            timeout=_TIMEOUT,
        )
        timings: list[Timings] = []
        ours, baseline = interleave(
            partial(_run_ours, sandbox, timings),
            partial(_run_bare, setup.image, repository, Path(folder, "copy"), model.endpoint),
            runs=max(_LEAST_RUNS, setup.runs),
        )
    return Row(
        name="cold task",
        ours=ours,
        baseline=baseline,
        unit="s",
        goal="none set",
        what=(
            f"a task of four model calls (bash, edit, bash, answer) on a git repository of {_FILES} files. Ours is "
            "`Sandbox.run`: preflight, snapshot, history, hardened container, OpenCode's boot, task, patch, container "
            "gone. The baseline is `docker run --rm --network host` of the same image, not hardened, with a copy of "
            "the repository mounted (made before the clock starts) and `opencode run --format json --title t` in it, "
            "until the container is gone; it is spared the look at models.dev and the look for updates. Ours passed "
            f"these moments, in seconds at the median: {_render_timings(timings[1:])}."
        ),
    )


def _answer(messages: list[dict[str, Any]]) -> Turn:
    """The next turn, by what was done already: one script for every run of either side."""
    return _TURNS[sum(message["role"] == "tool" for message in messages)]


def _make_repository(root: Path) -> None:
    for number in range(_FILES):
        path = root / f"package_{number % 5}" / f"module_{number:02}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_MODULE.format(number=number), encoding="ascii")
    identity = ["-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.invalid"]
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for arguments in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "--message=First"]):
        subprocess.run(["git", *arguments], cwd=root, env=environment, check=True)


def _run_ours(sandbox: Sandbox, timings: list[Timings]) -> float:
    began = time.perf_counter()
    result = sandbox.run(_TASK)
    took = time.perf_counter() - began
    if not result.ok or _AFTER not in (result.patch or "") or not result.evidence.cleanup_confirmed:
        msg = f"Our run did not do its task: {result.status}, {result.ending.message}"
        raise BenchmarkError(msg)
    timings.append(result.timings)
    return took


def _render_timings(timings: list[Timings]) -> str:
    moments: dict[str, list[float]] = {}
    for name, seconds in (item for timing in timings for item in timing.model_dump().items()):
        moments.setdefault(name, []).append(seconds)
    return ", ".join(f"{name} {statistics.median(seconds):.2f}" for name, seconds in moments.items())


def _run_bare(image: str, repository: Path, copy: Path, endpoint: ModelEndpoint) -> float:
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
            f"--env=OPENCODE_CONFIG_CONTENT={json.dumps(_build_config(endpoint))}",
            "--entrypoint=opencode",
        ]
        command = ["run", "--format", "json", "--title", "t", "-m", "sandbox/model", _TASK]
        began = time.perf_counter()
        with docker_run(flags, image, command) as process:
            output, _ = process.communicate(timeout=_TIMEOUT)
        took = time.perf_counter() - began
        if _AFTER not in (copy / _EDITED).read_text(encoding="ascii"):
            msg = f"The bare run did not do its task; its last words: {output[-1000:]!r}"
            raise BenchmarkError(msg)
        return took
    finally:
        shutil.rmtree(copy)


def _build_config(endpoint: ModelEndpoint) -> dict[str, Any]:
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
