"""A container that is held for commands: what they do, what comes out, and that none of them gets further."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import pytest
from support import containers, containers_of, git, wait_until

from langchain_sandbox import Limits, SandboxError, SandboxUnavailableError, Workspace
from langchain_sandbox.kept_runs import find_run
from langchain_sandbox.shell import Shell

_HOST = """
import time
from langchain_sandbox.shell import Shell
shell = Shell()
shell.execute("sleep 1000 & disown")
print("up", flush=True)
time.sleep(60)
"""

# There is no pgrep in the image.
_ABSENT = "while cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -q 'sleep [6]54'; do sleep 0.02; done"


def test_commands_work_on_a_copy_and_the_changes_come_out_at_the_end(repository: Path) -> None:
    with Shell(workspace=repository) as shell:
        assert shell.execute("git log --format=%s && cat README.md").text == "first\n# calc\n"
        assert shell.execute("sed -i s/-/+/ calc.py; mkdir new; echo more > new/a.txt; rm data/notes.txt").ok
        assert shell.execute(["git", "commit", "-qam", "second"]).ok
        assert git(repository, "status", "--porcelain") == ""
        result = shell.finish()
        assert shell.finish() == result
    assert (result.status, result.ending.code, result.partial) == ("completed", "finished", False)
    assert {file.path: file.kind for file in result.files} == {
        "calc.py": "modified",
        "data/notes.txt": "deleted",
        "new/a.txt": "added",
    }
    assert [commit.subject for commit in result.commits] == ["second"]
    assert [use.title for use in result.steps[0].uses][1].startswith("sed -i s/-/+/ calc.py")
    assert (result.usage.model_calls, result.receipt.model, result.evidence.exit_code) == (0, "", 0)
    assert find_run(shell.run_id).result() == result
    with pytest.raises(SandboxError, match="The shell is over: The shell was finished by its caller"):
        shell.execute("true")
    assert shell.apply(result).paths == ["calc.py", "data/notes.txt", "new/a.txt"]
    assert (repository / "calc.py").read_text() == "def add(a, b):\n    return a + b\n"
    assert (repository / "new/a.txt").read_text() == "more\n"


def test_a_folder_of_a_repository_is_where_commands_start(repository: Path) -> None:
    with Shell(workspace=repository / "data") as shell:
        assert shell.execute("pwd; ls; echo more >> notes.txt").text == "/run/ws/repo/data\nnotes.txt\n"
        assert shell.execute("pwd", cwd="..").text == "/run/ws/repo\n"
        assert shell.root == "/run/ws/repo/data"
        assert [file.path for file in shell.finish().files] == ["notes.txt"]


def test_a_command_has_every_wall_that_pid_1_has() -> None:
    walls = "grep -E '^(Seccomp|Seccomp_filters|NoNewPrivs|CapEff|CapBnd):' /proc/%s/status"
    with Shell() as shell:
        own, first = shell.execute(walls % "self").text, shell.execute(walls % "1").text
        seen = shell.execute(
            "sleep 0.3; id -u; cat /proc/self/oom_score_adj; ls /sys/class/net; ls /proc/1/fd; touch /x"
        ).text
        vsock = shell.execute(["python3", "-c", "import socket; socket.socket(40, socket.SOCK_STREAM)"])
    assert own == first
    assert "Seccomp:\t2" in own
    assert "CapBnd:\t0000000000000000" in own
    assert seen.splitlines()[1:3] == ["500", "lo"]
    assert "'/proc/1/fd': Permission denied" in seen
    assert "Read-only file system" in seen
    assert "Address family not supported" in vsock.text


def test_what_a_command_is_given_and_gives() -> None:
    with Shell() as shell:
        content = os.urandom(3_000_000)
        assert shell.execute(["cat"], stdin=content, output_limit=4_000_000).output == content
        assert shell.execute("head -c 10; exit 3", stdin=content[:10]).exit_code == 3
        assert shell.execute("exit 7", stdin=content).exit_code == 7  # and nobody reads all of it
        assert shell.execute("echo out; echo err >&2; echo out").text == "out\nerr\nout\n"
        assert shell.execute("kill -TERM $$").exit_code == 128 + signal.SIGTERM
        assert shell.execute("pwd", cwd="/tmp").text == "/tmp\n"
        assert shell.execute("pwd", cwd="..").text == "/run/ws\n"
        missing = shell.execute(["nonsense"])
        assert (missing.exit_code, missing.text) == (127, "nonsense: No such file or directory\n")
        assert shell.execute("cat").output == b""


def test_side_by_side_from_threads_and_loops() -> None:
    with Shell() as shell, ThreadPoolExecutor(50) as threads:
        together = "echo >> /tmp/here; while [ $(wc -l < /tmp/here) -lt 20 ]; do sleep 0.02; done; echo %d"
        texts = [done.text for done in threads.map(lambda n: shell.execute(together % n), range(20))]
        assert texts == [f"{n}\n" for n in range(20)]
        more = list(threads.map(lambda n: shell.execute(f"echo {n}").text, range(100)))
        assert more == [f"{n}\n" for n in range(100)]

        async def gather() -> list[str]:
            done = await asyncio.gather(*(shell.aexecute(f"head -c 300000 /dev/zero; echo {n}") for n in range(10)))
            return [one.text.strip("\0") for one in done]

        for _ in range(2):  # each in a loop of its own
            assert asyncio.run(gather()) == [f"{n}\n" for n in range(10)]
        assert len(containers_of_process(shell)) == 1


def containers_of_process(shell: Shell) -> list[str]:
    client = docker.from_env()
    try:
        return containers(client, run_id=shell.run_id)
    finally:
        client.close()


async def test_in_an_event_loop_that_is_not_ours(repository: Path) -> None:
    async with Shell(workspace=repository) as shell:
        assert (await shell.aexecute("cat README.md")).text == "# calc\n"
        assert shell.execute("echo b > b.txt").ok  # as in a notebook's cell
        result = await shell.afinish()
    assert [file.path for file in result.files] == ["b.txt"]


async def test_a_command_that_nobody_waits_for_is_killed() -> None:
    async with Shell() as shell:
        task = asyncio.create_task(shell.aexecute("touch /tmp/begun; sleep 654 | cat"))
        assert (await shell.aexecute("until [ -e /tmp/begun ]; do sleep 0.02; done", timeout=20)).ok
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await shell.aexecute(_ABSENT, timeout=5)).ok


def test_an_interrupted_wait_kills_the_command() -> None:
    with Shell() as shell:
        assert shell.execute("true").ok
        interrupt = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            shell.execute("sleep 654")
        interrupt.join()
        assert shell.execute(_ABSENT, timeout=5).ok


def test_what_cannot_be_tried_is_raised_and_may_be_tried_again() -> None:
    with Shell(image="nonsense:latest") as shell:
        for attempt in (shell.execute, shell.execute):
            with pytest.raises(SandboxUnavailableError, match="nonsense"):
                attempt("true")
        with pytest.raises(SandboxUnavailableError, match="nonsense"):
            shell.finish()


def test_time_is_up_for_a_command_and_all_that_it_started() -> None:
    with Shell() as shell:
        late = shell.execute("echo begun; (sleep 654; echo never) & sleep 654", timeout=0.5)
        assert (late.exit_code, late.timed_out, late.text) == (124, True, "begun\n")
        assert shell.execute(_ABSENT, timeout=5).ok


def test_what_is_left_running_holds_nobody_and_can_go_on_writing() -> None:
    with Shell() as shell:
        started = shell.execute(
            "(for n in 1 2 3 4 5; do sleep 0.3; echo line $n || exit; done; touch /tmp/wrote) & echo up"
        )
        assert started.text.startswith("up\n")
        assert shell.execute("until [ -e /tmp/wrote ]; do sleep 0.05; done", timeout=20).ok
        endless = shell.execute("setsid yes & sleep 0.2; echo over", output_limit=100)
        assert (endless.exit_code, endless.truncated, len(endless.output)) == (0, True, 100)
        assert shell.execute("echo next").text == "next\n"


def test_a_flood_is_cut_and_costs_the_others_nothing() -> None:
    with Shell() as shell, ThreadPoolExecutor(1) as threads:
        flood = threads.submit(shell.execute, "head -c 500000000 /dev/zero; echo end; exit 5", output_limit=1000)
        assert shell.execute("echo beside").text == "beside\n"
        done = flood.result()
        assert (done.exit_code, done.truncated, len(done.output)) == (5, True, 1000)


@pytest.mark.parametrize(
    "attack",
    [
        ":(){ :|:& };:; sleep 60",
        "kill -9 -1; kill -9 1",
        "(while :; do kill -STOP -1; kill -STOP 1; done) & kill -STOP $$",
        "python3 -c 'x = bytearray(10**10)'",
        "for n in $(seq 400); do sleep 654 & done; wait",
        "head -c 1G /dev/zero > /tmp/full; head -c 2G /dev/zero > full; mkfifo pipe",
        "rm -rf .git; ln -s / .git; mkfifo README.md; ln -sf /etc/passwd link",
    ],
)
def test_a_hostile_command_ends_at_its_timeout_and_the_shell_goes_on(attack: str) -> None:
    with Shell(limits=Limits(memory="512m", workspace="64m", tmp="64m")) as shell:
        hurt = shell.execute(attack, timeout=2)
        assert hurt.exit_code != 0 or "STOP" not in attack
        assert shell.execute("echo alive").text == "alive\n"
        result = shell.finish()
    assert result.ok, result.ending
    assert [file.path for file in result.files if file.path not in {"link", "full"}] == []


def test_a_container_that_dies_says_so_and_gives_a_typed_result(client: docker.DockerClient, repository: Path) -> None:
    with Shell(workspace=repository) as shell:
        assert shell.execute("true").ok
        waiting: list[BaseException] = []
        thread = threading.Thread(target=_catch, args=(shell, waiting))
        thread.start()
        client.api.kill(f"langchain-sandbox-{shell.run_id}")
        thread.join()
        with pytest.raises(SandboxError, match="The shell is over: The container ended with 137"):
            shell.execute("true")
        assert "The container ended with 137" in str(waiting[0])
        result = shell.finish()
    assert (result.status, result.ok) == ("crashed", False)


def _catch(shell: Shell, errors: list[BaseException]) -> None:
    try:
        shell.execute("sleep 654")
    except SandboxError as error:
        errors.append(error)


def test_the_time_of_the_container_is_up(repository: Path) -> None:
    with Shell(workspace=repository, timeout=1.5) as shell:
        shell.execute("echo b > b.txt")
        with pytest.raises(SandboxError, match=r"The run took longer than its 1\.5 s"):
            shell.execute("sleep 654")
        result = shell.finish()
    assert (result.status, result.partial, [file.path for file in result.files]) == ("timeout", True, ["b.txt"])


def test_what_is_closed_is_kept_with_the_run(repository: Path) -> None:
    with Shell(workspace=repository) as shell:
        shell.execute("echo b > b.txt")
    kept = find_run(shell.run_id).result()
    assert (kept.status, [file.path for file in kept.files]) == ("cancelled", ["b.txt"])


def test_a_shell_that_nobody_holds_any_more_is_taken_away(client: docker.DockerClient) -> None:
    shell = Shell()
    shell.execute("true")
    run_id = shell.run_id
    del shell
    gc.collect()
    wait_until(lambda: not containers(client, run_id=run_id), 10)


def test_a_host_that_is_killed_takes_the_container_with_it(client: docker.DockerClient, tmp_path: Path) -> None:
    state = tmp_path / "victim"
    environ = os.environ | {"SANDBOX_STATE_DIR": str(state)}
    with subprocess.Popen([sys.executable, "-c", _HOST], env=environ, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "up\n"
        assert len(containers_of(client, state)) == 1
        host.kill()
    wait_until(lambda: not containers_of(client, state), 10)


def test_a_mounted_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, 1000, 1000)
    with Shell(workspace=Workspace(folder, mode="bind")) as shell:
        shell.execute("echo b > b.txt")
        assert (folder / "b.txt").read_text() == "b\n"
        result = shell.finish()
    assert (result.ok, result.applied, [file.path for file in result.files]) == (True, True, ["b.txt"])
