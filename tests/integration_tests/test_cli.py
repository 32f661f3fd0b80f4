"""The command `langchain-sandbox`, as a process of its own, on the real engine with the real OpenCode."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest
from support import bash, containers, git, say, write

from langchain_sandbox import SandboxResult
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.testing import ScriptedModel

COMMAND = [sys.executable, "-m", "langchain_sandbox"]
SCRIPT = [write("new.txt", "hello\n"), say("It is \x1b[2Jwritten.")]


def call(*arguments: str, cwd: Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=os.environ | environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def run(*arguments: str, cwd: Path, model: ScriptedModel, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return call("run", *arguments, cwd=cwd, stdin=stdin, SANDBOX_MODEL_BASE_URL=model.endpoint.base_url)


def follow(out: str, verb: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Type what the summary says to type."""
    (words,) = re.findall(rf"langchain-sandbox ({verb} \w+)", out)
    return call(*words.split(), cwd=cwd)


def test_an_earlier_run_is_gone_on_from_wherever_the_user_stands(repository: Path, tmp_path: Path) -> None:
    script = [bash("echo one > new.txt"), say(), bash("echo two >> new.txt"), say("Better.")]
    with ScriptedModel(script) as model:
        assert run("Write it.", cwd=repository, model=model).returncode == 0
        done = run("--revise", "last", "/etc is", "no command", cwd=tmp_path, model=model)
        assert done.returncode == 0, done.stderr
        assert "Write it." in str(model.requests[-1].messages)
        assert "'/etc is' 'no command'" in str(model.requests[-1].messages)
    assert "+one\n+two\n" in done.stdout
    assert "revises" in call("show", "last", cwd=tmp_path).stdout
    assert call("apply", "last", cwd=tmp_path).returncode == 0
    assert (repository / "new.txt").read_text() == "one\ntwo\n"
    refused = call("run", "--revise", "last", " ", cwd=tmp_path, SANDBOX_MODEL_BASE_URL=model.endpoint.base_url)
    assert refused.returncode == 2
    assert "The comment is empty" in refused.stderr


@pytest.mark.parametrize("below", ["", "data"])
def test_a_task_on_the_current_folder_gives_a_patch_that_the_printed_command_applies(
    repository: Path, below: str
) -> None:
    folder = repository / below
    script = [write(f"{below}/new.txt".lstrip("/"), "hello\n"), SCRIPT[-1]]
    with ScriptedModel(script) as model:
        done = run("Write it.", cwd=folder, model=model)
        assert "Write it." in str(model.requests[0].messages)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert f"-> write: {below}/new.txt".replace(" /", " ") in done.stderr
    assert "model call 1" in done.stderr
    assert done.stdout.startswith("It is [2Jwritten.\n\ndiff --git a/new.txt b/new.txt\n")
    assert "+hello\n" in done.stdout
    assert "✓ completed in " in done.stdout
    assert "1 file changed +1 -0\n  A new.txt  +1 -0\n" in done.stdout
    assert f"Not applied to {folder}.\n" in done.stdout
    assert git(repository, "status", "--porcelain") == ""
    applied = follow(done.stdout, "apply", Path("/"))
    assert applied.returncode == 0, applied.stderr
    assert (folder / "new.txt").read_text() == "hello\n"
    reverted = follow(applied.stdout, "revert", Path("/"))
    assert reverted.returncode == 0, reverted.stderr
    assert git(repository, "status", "--porcelain") == ""


def test_json_is_one_result_and_nothing_else(repository: Path, tmp_path: Path) -> None:
    with ScriptedModel(SCRIPT) as model:
        done = run("-", "--json", "--workspace", str(repository), cwd=tmp_path, model=model, stdin="Read this.\n")
        assert "Read this." in str(model.requests[0].messages)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    result = SandboxResult.model_validate_json(done.stdout)
    assert result.ok
    assert result.text == "It is \x1b[2Jwritten."
    assert [file.path for file in result.files] == ["new.txt"]
    assert result.workspace.root == str(repository)


def test_apply_changes_the_folder(repository: Path) -> None:
    with ScriptedModel(SCRIPT) as model:
        done = run("Write it.", "--apply", cwd=repository, model=model)
    assert done.returncode == 0, done.stderr
    assert (repository / "new.txt").read_text() == "hello\n"
    assert f"Applied to {repository}.\n" in done.stdout
    assert follow(done.stdout, "revert", repository).returncode == 0
    assert git(repository, "status", "--porcelain") == ""


def test_what_could_not_be_applied_is_no_success(repository: Path) -> None:
    def answer(messages: list) -> dict:
        (repository / "new.txt").write_text("the user's own\n")
        return SCRIPT[sum(message["role"] == "tool" for message in messages)]

    with ScriptedModel(answer) as model:
        done = run("Write it.", "--apply", cwd=repository, model=model)
    assert done.returncode == 6, done.stderr
    assert (repository / "new.txt").read_text() == "the user's own\n"
    assert "not applied" in done.stderr
    again = follow(done.stdout, "apply", repository)
    assert (again.returncode, again.stdout) == (6, "")
    assert "new.txt" in again.stderr


def test_each_kind_of_failure_has_its_exit_code(repository: Path, tmp_path: Path) -> None:
    with ScriptedModel([], fault="refused") as model:
        done = run("Work.", cwd=repository, model=model)
        assert (done.returncode, "✗ model_unreachable in " in done.stdout) == (4, True), done
    with ScriptedModel([]) as model:
        done = run("Work.", "--image", "nope", cwd=repository, model=model)
        assert (done.returncode, "nope" in done.stderr, done.stdout) == (3, True, "")
        done = run("Work.", "--workspace", "nowhere", cwd=repository, model=model)
        assert (done.returncode, "not a folder" in done.stderr, done.stdout) == (2, True, "")
        url = {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
        done = call("run", "Work.", cwd=repository, **url)
        assert (done.returncode, "DOCKER_HOST" in done.stderr, done.stdout) == (3, True, "")
        assert "Traceback" not in done.stderr


def test_a_time_out_keeps_what_was_done(repository: Path) -> None:
    with ScriptedModel([SCRIPT[0], bash("sleep 600")]) as model:
        done = run("Work.", "--timeout", "9", cwd=repository, model=model)
    assert done.returncode == 5, done.stderr
    assert "✗ timeout in " in done.stdout
    assert "+hello" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_it_within_five_seconds_and_keeps_what_was_done(
    repository: Path, client: docker.DockerClient, number: signal.Signals
) -> None:
    with ScriptedModel([SCRIPT[0], bash("sleep 600")]) as model:
        process = subprocess.Popen(
            [*COMMAND, "run", "Work.", "--model", model.endpoint.base_url],
            cwd=repository,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if "-> bash" in line:
                break
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - began < 5 + 1  # five for the run, and a moment for Python's own end
    assert process.returncode == 130, err
    assert "Cancelling" in err
    assert "Traceback" not in err
    assert "✗ cancelled in " in out
    assert "+hello" in out
    assert follow(out, "apply", repository).returncode == 0
    assert (repository / "new.txt").read_text() == "hello\n"
    assert containers(client) == []


def test_gc_says_what_it_removed(tmp_path: Path, client: docker.DockerClient) -> None:
    victim = [sys.executable, str(Path(__file__).with_name("victim.py")), "orphan"]
    for _ in range(10):
        dead = subprocess.Popen(victim, stdout=subprocess.DEVNULL)
        assert dead.wait(60) == -signal.SIGKILL
        done = call("gc", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        if f"removed container langchain-sandbox-orphan-{dead.pid}\n" in done.stdout:
            break  # else a run of the tests beside these was quicker
    else:
        pytest.fail(done.stdout)
    assert containers(client) == []
    again = call("gc", "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["containers"] == []


def test_gc_without_an_engine_says_so(tmp_path: Path) -> None:
    done = call("gc", cwd=tmp_path, DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.returncode == 3
    assert "Containers were not looked for" in done.stderr


def test_build_gives_the_tag(tmp_path: Path) -> None:
    done = call("build", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{image_tag()}\n")


def test_doctor_prints_a_line_for_each_check(repository: Path) -> None:
    turn = {"tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]}
    with ScriptedModel([turn]) as model:
        done = call("doctor", "--workspace", ".", "--model", model.endpoint.base_url, cwd=repository)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert all(re.match(r"(ok|warning|skipped) +[a-z-]+ +\S", line) for line in lines[:-2])
    assert "engine" in done.stdout
    assert done.stderr == ""
    done = call("doctor", "--json", cwd=repository)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (1, False)
    assert [finding["check"] for finding in answer["findings"] if finding["status"] == "error"] == ["model"]


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    command = f"{shlex.join([*COMMAND, 'doctor'])} | head -n 1"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ok       python")
    assert done.stderr == ""


def test_a_dependency_that_is_missing_is_named(tmp_path: Path) -> None:
    code = "import sys; sys.modules['anyio'] = None; from langchain_sandbox.cli import main; sys.exit(main(['doctor']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "anyio" in done.stderr
    assert "pip install --force-reinstall langchain-opencode-sandbox" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_command_that_discards_its_changes_has_none_that_could_not_be_applied(repository: Path) -> None:
    audit = {"summary": "Nothing found.", "findings": []}
    answer = {"text": "", "tool_calls": [{"name": "StructuredOutput", "arguments": audit}]}
    with ScriptedModel([bash("echo x > new.txt"), answer]) as model:
        done = run("--apply", "/refactor-audit .", cwd=repository, model=model)
    assert done.returncode == 0, done.stderr
    assert '"summary": "Nothing found."' in done.stdout
    assert "No files were changed, and were not to be." in done.stdout
    assert git(repository, "status", "--porcelain") == ""


def test_what_is_kept_can_be_listed_shown_applied_and_reverted(repository: Path, tmp_path: Path) -> None:
    with ScriptedModel(SCRIPT) as model:
        file = tmp_path / "result.json"
        done = run("Write", "it now.", "--output", str(file), cwd=repository, model=model)
        assert "Write 'it now.'" in str(model.requests[0].messages)
    assert done.returncode == 0, done.stderr
    result = SandboxResult.model_validate_json(file.read_text())
    name = result.run_id

    (row,) = json.loads(call("runs", "--json", cwd=tmp_path).stdout)
    assert (row["run_id"], row["status"], row["files"], row["applied_to"]) == (name, "completed", 1, None)
    assert row["task"] == "Write 'it now.'"
    shown = call("show", name[:6], cwd=tmp_path)
    assert shown.stdout.startswith(f"run {name}  Write 'it now.'\n\nIt is [2Jwritten.\n\ndiff --git")
    assert SandboxResult.model_validate_json(call("show", "last", "--json", cwd=tmp_path).stdout) == result
    patch = call("show", name, "--patch", cwd=tmp_path).stdout
    assert patch == result.patch
    subprocess.run(["git", "apply", "--check"], cwd=repository, input=patch, text=True, check=True)

    applied = call("apply", str(file), "--json", cwd=tmp_path)
    assert json.loads(applied.stdout)["paths"] == ["new.txt"]
    assert f"Applied to {repository}." in call("show", "last", cwd=tmp_path).stdout
    assert re.search(r"completed +just now +1 \+1 -0 +yes +Write", call("runs", cwd=tmp_path).stdout)
    assert "has these changes already" in call("apply", name, cwd=tmp_path).stdout
    reverted = call("revert", name[:4], cwd=tmp_path)
    assert (reverted.returncode, reverted.stderr) == (0, "")
    assert not (repository / "new.txt").exists()
    assert f"Not applied to {repository}." in call("show", "last", cwd=tmp_path).stdout
    assert call("revert", name, cwd=tmp_path).returncode == 0


def test_what_reaches_further_than_the_project_needs_a_word(repository: Path) -> None:
    with ScriptedModel([write(".github/workflows/ci.yml", "on: push\n"), say()]) as model:
        done = run("Write it.", cwd=repository, model=model)
    assert "A .github/workflows/ci.yml  +1 -0  ⚠ ci" in done.stdout
    refused = call("apply", "last", cwd=repository)
    assert (refused.returncode, refused.stdout) == (6, "")
    assert "--allow-risky" in refused.stderr
    assert "ApplyPolicy" not in refused.stderr
    assert call("apply", "last", "--allow-risky", cwd=repository).returncode == 0
    assert (repository / ".github/workflows/ci.yml").read_text() == "on: push\n"


def test_a_schema_has_a_typed_answer(repository: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "required": ["lines"], "properties": {"lines": {"type": "integer"}}}')
    answer = {"text": "", "tool_calls": [{"name": "StructuredOutput", "arguments": {"lines": 2}}]}
    with ScriptedModel([answer]) as model:
        done = run("How many lines?", "--schema", str(schema), "--json", cwd=repository, model=model)
        assert json.loads(done.stdout)["structured"] == {"lines": 2}, done
        for wrong in ("nowhere.json", "README.md"):
            done = run("How many?", "--schema", wrong, cwd=repository, model=model)
            assert (done.returncode, done.stdout) == (2, "")
            assert wrong in done.stderr


def test_without_a_terminal_there_is_nobody_to_ask(repository: Path) -> None:
    with ScriptedModel(SCRIPT) as model:
        done = run("Write it.", "--review", cwd=repository, model=model)
        assert model.requests == []
    assert (done.returncode, done.stdout) == (2, "")
    assert "langchain-sandbox apply RUN" in done.stderr


@pytest.mark.parametrize(("tail", "code"), [("| true", 141), ("<&-", 0), (">&-", 0)], ids=["reader", "stdin", "stdout"])
def test_a_reader_that_has_gone_and_streams_that_are_closed_are_no_traceback(
    repository: Path, tail: str, code: int
) -> None:
    with ScriptedModel(SCRIPT) as model:
        command = shlex.join([*COMMAND, "run", "Write it.", "--model", model.endpoint.base_url])
        line = f"{command} {tail}; echo code ${{PIPESTATUS[0]}} >&2"
        done = subprocess.run(["bash", "-c", line], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stderr.endswith(f"code {code}\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
