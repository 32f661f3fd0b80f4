"""The seed's way: `TASK=... docker compose -f compose.headless.yml run --rm opencode`, with the real Compose."""

from __future__ import annotations

import hashlib
import os
import signal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from support import bash, git, make_repository, say, told, wait_until, write

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.images.package_image import image_tag
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.testing import ScriptedModel, Turn

if TYPE_CHECKING:
    from pathlib import Path

    import docker
    from compose_checkout import Open

SEEDS_TASK = "List all files in the workspace and summarize their purpose."


def words(model: ScriptedModel) -> str:
    """The task, as the model got it."""
    (first, *_) = [message["content"] for message in model.requests[0].messages if message["role"] == "user"]
    return first if isinstance(first, str) else "".join(part["text"] for part in first)


def fingerprint(folder: Path) -> dict[str, tuple[int, int, int, str]]:
    """Everything below a folder: mode, owner, group and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, hashlib.sha256(content).hexdigest())
    return found


def test_the_seeds_smoke_test_from_a_blank_checkout(checkout: Open, client: docker.DockerClient) -> None:
    look = "id -u; pwd; cat /proc/net/dev | tail -n +3; cat /proc/net/route | tail -n +2; find / -type s 2>/dev/null"
    hide = (
        "ls /host; ls /host/workspace; ls /host/private; cat /proc/1/environ; ls /proc/1/fd /proc/1/cwd/; env;"
        "grep -E '^(Cap(Eff|Prm|Amb)|NoNewPrivs|Seccomp):' /proc/self/status; touch /usr/x"
    )
    script = [bash(look), bash(hide), write("summary.md", "# Nothing here yet\n"), say("There are no files.")]
    with ScriptedModel(script, api_key="canary-key") as model:
        place = checkout(model.endpoint.base_url)
        (place.folder / ".env").write_text("SECRET=canary-env\n")
        done = place.run(SEEDS_TASK, SANDBOX_MODEL_API_KEY="canary-key")
        assert words(model) == SEEDS_TASK
        seen, hidden, _ = told(model)
        everything = str([request.body for request in model.requests])

    assert done.code == 0
    result = done.result
    assert (result.status, result.ok, result.applied, result.text) == ("completed", True, True, "There are no files.")
    assert [(file.path, file.kind) for file in result.files] == [("summary.md", "added")]
    assert result.evidence.source == "self_reported"
    assert result.usage.model_calls == len(script)
    assert result.warnings == []
    assert "-> bash: id -u" in done.stderr
    assert "completed: " in done.stderr.splitlines()[-1]

    # Whose it is: Docker made the folder, so it is the usual first user's.
    assert (place.workspace / "summary.md").read_text() == "# Nothing here yet\n"
    assert {path.lstat().st_uid for path in (place.workspace, place.workspace / "summary.md")} == {1000}

    # No network, no way out, nothing to see of the host.
    lines = seen.splitlines()
    assert lines[:2] == ["1000", "/run/ws/repo"]
    assert [line.split(":")[0].strip() for line in lines[2:] if ":" in line] == ["lo"]
    assert [line for line in lines[2:] if line.startswith("/")] == []
    assert hidden.count("Permission denied") >= 5
    assert "Read-only file system" in hidden
    assert "CapEff:\t0000000000000000" in hidden
    assert "CapPrm:\t0000000000000000" in hidden
    assert "NoNewPrivs:\t1" in hidden
    assert "Seccomp:\t2" in hidden
    assert "canary" not in everything

    # What stays, as docs/compose.md says; the fixture takes it down.
    assert {path.name for path in place.folder.iterdir()} == {
        ".env",
        "compose.headless.yml",
        "compose.yml",
        "workspace",
    }
    wait_until(lambda: place.remains(client) == {"gateway-1": "exited", "llm": "volume"}, 15)


def test_the_caller_owns_the_files_and_links_lead_nobody_astray(checkout: Open, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("not in the workspace\n")
    with ScriptedModel([bash("id; echo more >> kept.txt; mkdir -p a/b; echo x > a/b/c"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        place.workspace.mkdir()
        (place.workspace / "kept.txt").write_text("kept\n")
        (place.workspace / "link").symlink_to(outside)
        os.chown(place.workspace / "kept.txt", 1234, 2345)
        os.chown(place.workspace, 1234, 2345)
        done = place.run("Add a file.")
        assert "uid=1234 gid=2345" in told(model)[0]
    assert done.code == 0
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in place.workspace.rglob("*") if path.name != "link"}
    assert owners == {(1234, 2345)}
    assert (place.workspace / "kept.txt").read_text() == "kept\nmore\n"
    assert (place.workspace / "link").lstat().st_uid == 1234
    assert outside.stat().st_uid == os.getuid()

    with ScriptedModel([bash("id"), say()], port=0) as model:
        place.environment["SANDBOX_MODEL_BASE_URL"] = model.endpoint.base_url
        assert place.run("Look.", PUID="4321", PGID="5432").code == 0
        assert "uid=4321 gid=5432" in told(model)[0]
    assert {path.lstat().st_uid for path in place.workspace.rglob("*")} == {4321}


def test_a_folder_that_docker_makes_belongs_to_whoever_has_the_checkout(checkout: Open) -> None:
    with ScriptedModel([write("new.txt", "new\n"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        os.chown(place.folder, 1234, 2345)
        assert place.run("Write.").code == 0
    for path in (place.workspace, place.workspace / "new.txt"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_a_repository_goes_in_with_its_history_and_its_git_is_out_of_reach(checkout: Open) -> None:
    plant = (
        "git log --oneline; git status --short; echo evil > .git/hooks/post-checkout; git config core.fsmonitor evil;"
        "mkdir sub && git -C sub init -q && echo y > sub/file; echo changed > README.md;"
        "git -c user.name=a -c user.email=a@b.c commit -qam inside; git log --oneline | wc -l"
    )
    with ScriptedModel([bash(plant), say()]) as model:
        place = checkout(model.endpoint.base_url)
        make_repository(place.workspace, {"README.md": "# it\n", "notes.txt": "notes\n"})
        (place.workspace / "notes.txt").write_text("changed by the user\n")
        for path in (place.workspace, *place.workspace.rglob("*")):
            os.lchown(path, 1000, 1000)
        before = fingerprint(place.workspace / ".git")
        done = place.run("Look around.")
        (output,) = told(model)
    assert done.code == 0
    assert "first" in output
    assert " M notes.txt" in output
    assert "2" in output.splitlines()  # what git says of the evil monitor may come before it or after
    assert fingerprint(place.workspace / ".git") == before
    assert (place.workspace / "README.md").read_text() == "changed\n"
    assert (place.workspace / "notes.txt").read_text() == "changed by the user\n"
    assert not list(place.workspace.rglob("sub/.git"))
    (warning,) = [text for text in done.result.warnings if "commits were made" in text]
    assert "WORKSPACE_MODE=direct" in warning


def test_in_the_mode_direct_the_agent_works_in_the_folder_itself(checkout: Open) -> None:
    work = (
        "pwd; ls /host/private; echo new > new.txt; git add new.txt;git -c user.name=a -c user.email=a@b.c commit -qm b"
    )
    with ScriptedModel([bash(work), *([{"fault": "http_500"}] * 3)]) as model:
        place = checkout(model.endpoint.base_url)
        make_repository(place.workspace, {"README.md": "# it\n"})
        (place.workspace / ".gitignore").write_text("ignored/\n")
        (place.workspace / "ignored").mkdir()
        done = place.run("Commit a file.", WORKSPACE_MODE="direct")
        output = next(str(m["content"]) for m in model.requests[1].messages if m["role"] == "tool")
    assert output.startswith("/host/workspace\n")
    assert "ls: cannot open directory '/host/private': Permission denied" in output
    assert done.code == 4  # whatever became of the run, what was changed is there
    assert done.result.applied
    assert [file.path for file in done.result.files] == ["new.txt"]
    assert git(place.workspace, "-c", "safe.directory=*", "log", "--format=%s") == "b\nfirst"


def test_in_the_mode_direct_nothing_can_be_discarded_and_that_is_said(checkout: Open) -> None:
    with ScriptedModel([bash("echo x > new.txt"), say(), say(), say()]) as model:
        result = checkout(model.endpoint.base_url).run("/refactor-audit", WORKSPACE_MODE="direct").result
    assert result.applied
    assert [file.path for file in result.files] == ["new.txt"]
    assert any("/refactor-audit says changes: discard, but" in text for text in result.warnings)


def test_in_the_mode_direct_git_can_be_mounted_read_only(checkout: Open) -> None:
    """As docs/compose.md shows it."""
    work = "echo x > new.txt; git log --oneline; git config core.fsmonitor evil; mv .git .old; echo x > .git/hooks/x"
    with ScriptedModel([bash(work), say()]) as model:
        place = checkout(model.endpoint.base_url)
        make_repository(place.workspace, {"README.md": "# it\n"})
        before = fingerprint(place.workspace / ".git")
        mount = f"{place.workspace}/.git:/host/workspace/.git:ro"
        done = place.finish(place.start("-v", mount, TASK="Write.", WORKSPACE_MODE="direct"))
        (output,) = told(model)
    assert done.code == 0
    assert output.count("Read-only file system") + output.count("Device or resource busy") == 3
    assert fingerprint(place.workspace / ".git") == before
    assert (place.workspace / "new.txt").read_text() == "x\n"


def test_a_command_runs_with_its_agent_its_shell_and_its_files(checkout: Open) -> None:
    audit = {"summary": "Nothing found.", "findings": []}
    typed: Turn = {"text": "", "tool_calls": [{"name": "StructuredOutput", "arguments": audit}]}
    with ScriptedModel([typed, say("Done.")]) as model:
        place = checkout(model.endpoint.base_url)
        folder = place.workspace / ".opencode/commands/team"
        folder.mkdir(parents=True)
        (place.workspace / "notes.txt").write_text("the notes' words\n")
        (folder / "count.md").write_text("---\nagent: build\n---\nOf $1 there are !`ls | wc -l`. See @notes.txt.\n")
        result = place.run("/refactor-audit src").result
        assert (result.ok, result.structured, result.receipt.command) == (True, audit, "refactor-audit")
        assert words(model).startswith("Audit the code for refactoring. Scope: src\n")
        assert "plan mode" in str(model.requests[0].messages).lower()
        assert place.run("/team/count files").result.ok
        sent = str(model.requests[1].messages)
    assert "Of files there are 1\\n." in sent
    assert "the notes' words" in sent
    wrong = place.run("/refactor-audti src")
    assert (wrong.code, wrong.stdout) == (2, "")
    known = "/code-review, /fix-tests, /git-commit, /refactor-audit, /team/count, /write-tests"
    assert f"There is no command /refactor-audti; there are {known}." in wrong.stderr


def test_a_task_of_100_kb_arrives_byte_for_byte_and_a_longer_one_by_file(checkout: Open) -> None:
    line = "a \"b\" 'c' $HOME ${TASK} `d` \\n --help /x @y !`z` ünï 日本\t;\n"
    task = (line * 2000)[: 100 * 1024]
    long = line * 12_000
    with ScriptedModel([say(), say()], context_length=1_000_000) as model:
        place = checkout(model.endpoint.base_url)
        assert place.run(task).code == 0
        assert words(model) == task
        (place.folder / "tasks").mkdir()
        (place.folder / "tasks/long.md").write_text(long)
        assert place.run(TASK_FILE="tasks/long.md").code == 0
        sent = model.requests[1].messages[-1]["content"]
        assert (sent if isinstance(sent, str) else sent[0]["text"]) == long


def test_the_seeds_own_files_work_where_they_are(checkout: Open) -> None:
    with ScriptedModel([say(), say()], api_key="from-auth", name="qwen") as model:
        place = checkout()
        port = model.endpoint.base_url.removesuffix("/v1").rpartition(":")[2]
        files = {
            "config/opencode.json": (
                '{"model": "vllm/qwen", // as the seed has it\n'
                f'"provider": {{"vllm": {{"options": {{"baseURL": "http://127.0.0.1:{port}/v1"}}}}}}, "plugin": ["x"],'
                '"agent": {"build": {"prompt": "You keep a worklog.", "permission": {"bash": "ask"}}}}'
            ),
            "config/auth.json": '{"vllm": {"type": "api", "key": "from-auth"}}',
            "config/AGENTS.md": "Global rule: speak plainly.\n",
            ".opencode/commands/hello.md": "Say hello to $ARGUMENTS.\n",
            ".opencode/skills/write-worklog/SKILL.md": "---\nname: write-worklog\ndescription: A log\n---\nWrite.\n",
        }
        for name, content in files.items():
            (place.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (place.folder / name).write_text(content)
        done = place.run("/hello the world")
        assert done.code == 0, done.stderr
        assert words(model) == "Say hello to the world."
        sent = str(model.requests[0].body)
    for expected in ("You keep a worklog.", "Global rule: speak plainly.", "write-worklog"):
        assert expected in sent
    assert sent.count("Global rule: speak plainly.") == 1
    assert "from-auth" not in sent


@pytest.mark.parametrize("kept", ["new", "old"])
def test_sessions_are_kept_where_they_are_to_be(checkout: Open, kept: str) -> None:
    with ScriptedModel([say()]) as model:
        place = checkout(model.endpoint.base_url)
        data = place.folder / "data/opencode"
        if kept == "old":
            data.mkdir(parents=True)
        assert place.run("Look.", OPENCODE_DATA="./data/opencode").code == 0
    assert (data / "opencode.db").exists()
    assert {path.lstat().st_uid for path in (data, *data.rglob("*"))} == {1000}


def test_a_model_that_is_down_gives_a_result_at_once(checkout: Open) -> None:
    with ScriptedModel([], fault="refused") as model:
        place = checkout(model.endpoint.base_url)
        done = place.run(SEEDS_TASK)
    assert done.code == 4
    result = done.result
    assert result.status == "model_unreachable"
    assert "Start the model server" in result.ending.hint
    assert result.timings.total < 5


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("http_500", "model_error", "http_500"),
        ("cut", "model_error", "answer_cut"),
        ("malformed", "model_error", "malformed_answer"),
        ("hang", "model_error", "model_timeout"),
        ("hang_mid_stream", "model_error", "answer_stalled"),
        ("unauthorized", "model_error", "http_401"),
    ],
)
def test_a_model_that_fails_is_told_as_in_any_run(checkout: Open, fault: Any, status: str, code: str) -> None:
    """The gateway service is the package's own, on Debian's older libraries."""
    with ScriptedModel([write("half.txt", "half\n"), *([{"fault": fault}] * 4)]) as model:
        place = checkout(model.endpoint.base_url)
        done = place.run("Write.", SANDBOX_LIMIT_FIRST_BYTE="2", SANDBOX_LIMIT_IDLE="2")
    result = done.result
    assert (done.code, result.status, result.ending.code) == (4, status, code)
    # What was changed until then is in the result, and the workspace as it was.
    assert [file.path for file in result.files] == ["half.txt"]
    assert not result.applied
    assert list(place.workspace.iterdir()) == []


def test_two_runs_at_once_share_a_gateway_and_keep_each_others_changes(
    checkout: Open, client: docker.DockerClient
) -> None:
    def answer(messages: list[dict[str, Any]]) -> Any:
        name = "one" if "task one" in str(messages) else "two"
        used = any(message["role"] == "tool" for message in messages)
        turn = say(f"Wrote {name}.") if used else bash(f"sleep 1; echo {name} > {name}.txt")
        return turn | {"delay": 1.5}

    with ScriptedModel(answer) as model:
        place = checkout(model.endpoint.base_url)
        place.workspace.mkdir()
        (place.workspace / "shared.txt").write_text("shared\n")
        processes = [place.start(TASK="task one", SANDBOX_MODEL_MAX_CONCURRENCY="1")]
        # Compose itself does not take turns: two that make the same container in the same moment collide.
        wait_until(lambda: "gateway-1" in place.remains(client), 30)
        processes.append(place.start(TASK="task two", SANDBOX_MODEL_MAX_CONCURRENCY="1"))
        done = [place.finish(process) for process in processes]
        asked = [request.received_at for request in model.requests]
    assert [each.code for each in done] == [0, 0]
    assert all(later - earlier > 1.4 for earlier, later in pairwise(asked))
    assert [each.result.text for each in done] == ["Wrote one.", "Wrote two."]
    assert sorted(path.name for path in place.workspace.iterdir()) == ["one.txt", "shared.txt", "two.txt"]
    wait_until(lambda: place.remains(client)["gateway-1"] == "exited", 25)


def test_runs_one_after_the_other_find_their_gateway(checkout: Open) -> None:
    """Each starts while the one before has just ended, its gateway too."""
    with ScriptedModel([], fault="refused") as model:
        place = checkout(model.endpoint.base_url)
        assert [place.run("x").code for _ in range(8)] == [4] * 8


def test_what_the_user_changes_meanwhile_is_not_written_over(checkout: Open) -> None:
    with ScriptedModel([bash("sleep 2; echo agent > notes.txt; echo more > more.txt"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        place.workspace.mkdir()
        (place.workspace / "notes.txt").write_text("before\n")
        process = place.start(TASK="Write.")
        wait_until(lambda: bool(model.requests), 30)
        (place.workspace / "notes.txt").write_text("the user went on\n")
        done = place.finish(process)
    result = done.result
    assert done.code == 6
    assert result.ok
    assert not result.applied
    assert result.patch is not None
    assert "+agent" in result.patch
    assert any("notes.txt: not as when the run began" in text for text in result.warnings)
    assert (place.workspace / "notes.txt").read_text() == "the user went on\n"
    assert not (place.workspace / "more.txt").exists()


def test_a_time_limit_ends_the_run_and_what_was_done_is_told(checkout: Open) -> None:
    with ScriptedModel([bash("echo half > half.txt; sleep 60"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        done = place.run("Write.", SANDBOX_TIMEOUT="9")
    assert (done.code, done.result.status) == (5, "timeout")
    assert [file.path for file in done.result.files] == ["half.txt"]
    assert list(place.workspace.iterdir()) == []


def test_what_the_kernel_kills_for_memory_is_told(checkout: Open) -> None:
    with ScriptedModel([bash("python3 -c \"print(len('x' * 1500000000))\"; echo after"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        done = place.run("Use it.", CONTAINER_MEMORY="1g")
        assert "after" in told(model)[0]
    assert done.result.ok  # only a child died
    assert done.result.evidence.oom


def test_an_interrupted_run_says_what_it_has(checkout: Open, client: docker.DockerClient) -> None:
    with ScriptedModel([bash("echo half > half.txt; sleep 60"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        process = place.start(TASK="Write.")
        wait_until(lambda: bool(model.requests), 30)
        process.send_signal(signal.SIGINT)
        done = place.finish(process)
    assert done.code == 130
    assert done.result.status == "cancelled"
    wait_until(lambda: place.remains(client) == {"gateway-1": "exited", "llm": "volume"}, 15)


def test_a_killed_compose_leaves_a_run_that_ends_by_itself(checkout: Open, client: docker.DockerClient) -> None:
    with ScriptedModel([bash("sleep 3"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        process = place.start(TASK="Wait.", SANDBOX_TIMEOUT="20")
        wait_until(lambda: bool(model.requests), 30)
        process.kill()
        process.communicate()
        wait_until(lambda: "running" not in place.remains(client).values(), 40)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TASK": "x", "PUID": "0"}, "PUID=0 PGID=1000: both must be positive numbers. The agent never runs as root"),
        ({"TASK": "x", "WORKSPACE_MODE": "bind"}, "WORKSPACE_MODE is copy or direct, not 'bind'."),
        ({"TASK": "x", "SANDBOX_CHANGES": "keep"}, "SANDBOX_CHANGES is one of apply, return, discard, not 'keep'."),
        ({"TASK": "x", "SANDBOX_TIMEOUT": "soon"}, "SANDBOX_TIMEOUT is a positive number of seconds, not 'soon'."),
        ({"TASK": "x", "TASK_FILE": "compose.yml"}, "Both TASK and TASK_FILE are set; set one of them."),
        ({"TASK_FILE": "absent.md"}, "TASK_FILE=absent.md: there is no such file"),
        ({"TASK": "  "}, "The task is empty"),
        ({}, "There is no TASK and no terminal. Set TASK"),
        ({"TASK": "x", "SANDBOX_LIMIT_IDLE": "-1"}, "Limits.idle must be a positive number"),
        ({"TASK": "x", "SANDBOX_MODEL_BASE_URL": "vllm:8000"}, "must look like http://127.0.0.1:8000/v1"),
        ({"TASK": "x", "SANDBOX_MODEL_BASE_URL": "http://8.8.8.8/v1"}, "SANDBOX_ALLOW_REMOTE_MODEL=1"),
        ({"TASK": "x", "SANDBOX_MODEL_BASE_URL": ""}, "No model server is named. Set SANDBOX_MODEL_BASE_URL"),
    ],
)
def test_bad_input_says_what_to_do_and_prints_no_result(
    checkout: Open, environment: dict[str, str], message: str
) -> None:
    with ScriptedModel([]) as model:
        place = checkout(model.endpoint.base_url)
        done = place.run(**environment)
    assert (done.code, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_gateway_can_be_on_a_bridge_where_the_host_has_a_name(checkout: Open, client: docker.DockerClient) -> None:
    """As Docker Desktop needs it. The model listens where `host.docker.internal` leads."""
    address = client.containers.run(
        image_tag(),
        ["ahostsv4", "host.docker.internal"],
        entrypoint="getent",
        extra_hosts={"host.docker.internal": "host-gateway"},
        labels={labels.OWNER: current_owner()},
        remove=True,
    ).split()[0]
    with ScriptedModel([say("Hello.")], host=address.decode()) as model:
        port = model.endpoint.base_url.removesuffix("/v1").rpartition(":")[2]
        place = checkout(f"http://host.docker.internal:{port}/v1")
        done = place.run("Say hello.", SANDBOX_GATEWAY_NETWORK="bridge")
    assert (done.code, done.result.text) == (0, "Hello.")
    assert "network" not in place.remains(client).values()


def test_an_image_that_is_not_there_is_neither_built_nor_pulled(checkout: Open) -> None:
    done = checkout("http://127.0.0.1:9/v1").run("x", SANDBOX_IMAGE="langchain-opencode-sandbox:absent")
    assert done.code != 0
    assert "langchain-opencode-sandbox:absent" in done.stderr
