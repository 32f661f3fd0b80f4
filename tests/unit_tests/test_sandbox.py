"""The façade's options and tasks are checked before anything is started; a `Sandbox` is its configuration."""

import copy
import os
import pickle
from pathlib import Path

import pytest

from langchain_sandbox.config import DEFAULT_TIMEOUT, MAX_TASK, Limits, ModelEndpoint
from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError
from langchain_sandbox.request import check_task
from langchain_sandbox.result import Ending, PatchReference, Receipt, SandboxResult, WorkspaceState
from langchain_sandbox.sandbox import Sandbox
from langchain_sandbox.workspace_config import Retention, Workspace

MODEL = "http://127.0.0.1:9/v1"
KEY = "s3cr3t-key"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("SANDBOX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))


def test_without_any_setting_the_message_says_what_to_set() -> None:
    with pytest.raises(SandboxConfigError, match=r"SANDBOX_MODEL_BASE_URL.*http://.*ModelEndpoint"):
        Sandbox()


def test_one_address_is_enough_and_the_rest_has_safe_defaults() -> None:
    sandbox = Sandbox(model=MODEL)
    assert sandbox.model == ModelEndpoint(MODEL)
    assert (sandbox.workspace, sandbox.image, sandbox.queue_timeout) == (None, None, None)
    assert (sandbox.changes, sandbox.timeout, sandbox.allow_remote_model) == ("return", DEFAULT_TIMEOUT, False)
    assert sandbox.limits == Limits()


def test_everything_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "MODEL_BASE_URL": MODEL,
        "MODEL_NAME": "m",
        "WORKSPACE": str(tmp_path),
        "WORKSPACE_EXCLUDE": "*.mp4",
        "WORKSPACE_HISTORY": "7",
        "IMAGE": "mine:1",
        "CHANGES": "apply",
        "TIMEOUT": "12.5",
        "ALLOW_REMOTE_MODEL": "1",
        "LIMIT_PIDS": "7",
        "KEEP_RUNS": "3",
    }.items():
        monkeypatch.setenv(f"SANDBOX_{name}", value)
    sandbox = Sandbox()
    assert sandbox.model == ModelEndpoint(MODEL, "m")
    assert (sandbox.workspace, sandbox.image) == (Workspace(tmp_path, exclude=["*.mp4"], history=7), "mine:1")
    assert (sandbox.changes, sandbox.timeout, sandbox.allow_remote_model) == ("apply", 12.5, True)
    assert (sandbox.limits, sandbox.retention) == (Limits(pids=7), Retention(runs=3))
    given = Sandbox(image="other", changes="discard", timeout=1, allow_remote_model=False, limits=Limits())
    assert (given.image, given.changes, given.timeout, given.allow_remote_model) == ("other", "discard", 1.0, False)
    assert given.limits == Limits()


@pytest.mark.parametrize("value", ["", "0", "no", "false", "maybe"])
def test_a_remote_model_is_allowed_by_a_plain_yes_only(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SANDBOX_ALLOW_REMOTE_MODEL", value)
    assert not Sandbox(model=MODEL).allow_remote_model


def test_a_workspace_is_kept_as_an_absolute_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for written in ("sub", "~/sub", Path("sub"), Workspace(Path("sub"))):
        assert Sandbox(model=MODEL, workspace=written).workspace == Workspace(tmp_path / "sub")


def test_a_workspace_that_says_more_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SANDBOX_WORKSPACE_EXCLUDE", "*.mp4")
    workspace = Workspace(tmp_path, include=["dist"], history=0)
    assert Sandbox(model=MODEL, workspace=workspace).workspace == workspace


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("timeout", value) for value in (0, -1, "soon", float("nan"), float("inf"), [1])),
        *(("queue_timeout", value) for value in (0, -1, "soon", float("nan"), float("inf"))),
        *(("workspace", value) for value in ("", "~nosuchuser/x")),
        *(("changes", value) for value in ("merge", "APPLY", 7, ["apply"])),
        *(("model", value) for value in ("localhost:8000", "ftp://host")),
    ],
)
def test_an_option_that_cannot_work_is_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(SandboxConfigError, match="base_url" if option == "model" else option):
        Sandbox(**{"model": MODEL, option: value})


@pytest.mark.parametrize(("option", "value"), [("TIMEOUT", "soon"), ("TIMEOUT", "-3"), ("CHANGES", "merge")])
def test_a_setting_that_cannot_work_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, option: str, value: str
) -> None:
    monkeypatch.setenv(f"SANDBOX_{option}", value)
    with pytest.raises(SandboxConfigError, match=f"(?i){option}.*{value}"):
        Sandbox(model=MODEL)


@pytest.mark.parametrize("task", ["x", "  do it\n", "ünï 😀 日本", "$(id) `x` \"' \\", "\x1b[31m", "x" * MAX_TASK])
def test_a_task_arrives_as_it_was_written(task: str) -> None:
    assert check_task(task) == task


@pytest.mark.parametrize(
    ("task", "word"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        (None, "empty"),
        (7, "empty"),
        (b"bytes", "empty"),
        ("ab\0c", "NUL character at position 2"),
        ("ab\ud800c", "surrogate.* at position 2"),
        ("caf\udce9", "surrogate.* at position 3"),
        ("x" * (MAX_TASK + 1), f"{MAX_TASK + 1} bytes"),
        ("ü" * (MAX_TASK // 2 + 1), f"{MAX_TASK + 2} bytes"),
    ],
    ids=["nothing", "blank", "none", "number", "bytes", "nul", "half", "byte", "long", "long-in-bytes"],
)
def test_a_task_that_could_not_arrive_is_refused(task: str, word: str) -> None:
    with pytest.raises(SandboxConfigError, match=word):
        check_task(task)


@pytest.mark.parametrize("options", [{"task": ""}, {"task": "x", "timeout": -1}, {"task": "x", "changes": "merge"}])
def test_a_run_that_cannot_work_is_refused_before_it_is_started(options: dict) -> None:
    with pytest.raises(SandboxConfigError):
        Sandbox(model=MODEL).start(**options)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda sandbox: pickle.loads(pickle.dumps(sandbox))])
def test_a_sandbox_copies_and_pickles_as_its_configuration(duplicate: object, tmp_path: Path) -> None:
    model = ModelEndpoint(MODEL, "m", KEY)
    sandbox = Sandbox(model=model, workspace=tmp_path, limits=Limits(pids=9), changes="apply", timeout=3)
    assert vars(duplicate(sandbox)) == vars(sandbox)


def test_the_key_is_never_shown() -> None:
    sandbox = Sandbox(model=ModelEndpoint(MODEL, api_key=KEY))
    assert "127.0.0.1:9" in repr(sandbox)
    assert KEY not in repr(sandbox) + str(sandbox) + f"{vars(sandbox)}"


def result(**fields: object) -> SandboxResult:
    ending, receipt = Ending(code="completed", message=""), Receipt(package="0")
    return SandboxResult(run_id="0123456789ab", status="completed", ok=True, ending=ending, receipt=receipt, **fields)


def test_applying_a_result_that_had_no_workspace_says_what_to_pass() -> None:
    with pytest.raises(SandboxApplyError, match="workspace="):
        Sandbox(model=MODEL).apply(result(patch="x"))


def test_a_patch_that_is_not_there_any_more_is_named(tmp_path: Path) -> None:
    reference = PatchReference(path=str(tmp_path / "gone.patch"), sha256="", size=1)
    gone = result(patch_reference=reference, workspace=WorkspaceState(root=str(tmp_path)))
    with pytest.raises(SandboxApplyError, match=rf"{tmp_path}/state/runs/{gone.run_id}/changes\.patch cannot be read"):
        Sandbox(model=MODEL).apply(gone)


def test_a_mounted_folder_and_a_command_that_changes_nothing_do_not_go_together(tmp_path: Path) -> None:
    sandbox = Sandbox(model=MODEL, workspace=Workspace(tmp_path, mode="bind"))
    with pytest.raises(SandboxConfigError, match=r"changes='discard' cannot be"):
        sandbox.start("/code-review")
