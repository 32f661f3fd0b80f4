"""Several tasks in one container: what it keeps, what goes in and out between them, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker.errors
import pytest
from support import bash, containers, git, outputs, say, wait_until

from langchain_sandbox import Limits, Sandbox, SandboxConfigError, SandboxError, Workspace
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

    from langchain_sandbox import SandboxResult, Session
    from langchain_sandbox.testing import Turn

VICTIM = """
import os, signal, sys
from langchain_sandbox import Sandbox
session = Sandbox().session()
print(session.run("Hello.").status, flush=True)
if sys.argv[1] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "fork" and os.fork() == 0:
    try:
        session.run("Hello from a child.")
    except ValueError as error:
        print(error, flush=True)
    session.close()
    os._exit(0)
if sys.argv[1] == "fork":
    os.wait()
    print(session.run("Once more.").status, flush=True)
"""

TICK = """
import ctypes, signal, time

class Event(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signo", ctypes.c_int), ("how", ctypes.c_int), ("_", ctypes.c_char * 48)]

signal.signal(signal.SIGCONT, lambda *_: None)
libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
assert libc.timer_create(1, ctypes.byref(Event(None, signal.SIGCONT, 0)), ctypes.byref(timer)) == 0
assert libc.timer_settime(timer, 0, (ctypes.c_long * 4)(0, 20_000_000, 0, 20_000_000), None) == 0
while True:
    time.sleep(0.005)
"""


def words(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


def obey(messages: list[dict[str, Any]]) -> Turn:
    """Runs what stands behind a dollar sign in the task, and says what came of it."""
    last = messages[-1]
    if last["role"] == "tool" and "endless" not in str(messages):
        return say(f"It said: {words(last).strip()}")
    if words(last).startswith("fail"):
        return {"fault": "unauthorized"}
    if "endless" in str(messages):
        return bash("true")
    _, found, command = words(last).partition("$ ")
    return bash(command.strip()) if found else say(f"I heard: {words(last)}")


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(obey) as scripted:
        yield scripted


@pytest.fixture
def sandbox(model: ScriptedModel, repository: Path) -> Sandbox:
    return Sandbox(model=model.endpoint, workspace=repository)


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[Session]:
    with sandbox.session() as begun:
        yield begun


def kinds(result: SandboxResult) -> dict[str, str]:
    assert result.ok, result.ending
    return {file.path: file.kind for file in result.files}


def test_a_conversation_goes_on_and_each_task_counts_for_itself(
    session: Session, model: ScriptedModel, repository: Path, client: docker.DockerClient
) -> None:
    first = session.run(
        "$ echo one > one.txt && git add -A && git commit -qm one; (sleep 500 > /dev/null 2>&1 &); echo begun"
    )
    (name,) = containers(client, dead=False)
    assert kinds(first) == {"one.txt": "added"}
    assert [commit.subject for commit in first.commits] == ["one"]
    assert first.evidence.cleanup_pending

    with session.start(
        "$ cat one.txt; cat /proc/[0-9]*/comm | grep -c sleep; echo two > two.txt; git log --format=%s"
    ) as handle:
        events = list(handle.events())
        second = handle.result()
    assert outputs(events) == ["one\n1\none\nfirst\n"]
    assert {event.run_id for event in events} == {second.run_id}
    assert [event.type for event in events][:: len(events) - 1] == ["started", "finished"]
    assert "".join(event.text for event in events if event.type == "text") == second.text
    assert (kinds(second), second.commits) == ({"two.txt": "added"}, [])
    assert (second.usage.model_calls, len(second.steps)) == (2, 2)
    said = [words(message) for message in model.requests[-1].messages]
    assert any("echo one > one.txt" in each for each in said)
    assert any(first.text == each for each in said)

    third = session.run("Nothing.")
    assert (kinds(third), third.commits, third.warnings) == ({}, [], [])
    assert containers(client, dead=False) == [name]
    assert (repository / "one.txt").exists() is False
    session.apply(first)
    assert git(repository, "log", "-1", "--format=%s") == "one"
    session.apply(second)
    assert (repository / "two.txt").read_text() == "two\n"
    fourth = session.run("$ git status --short; git log --format=%s")
    assert fourth.text == "It said: ?? two.txt\none\nfirst"
    assert kinds(fourth) == {}


def test_only_what_is_new_goes_in_and_out(session: Session, repository: Path) -> None:
    kept = session.run("$ echo kept > kept.txt && sed -i s/-/+/ calc.py && rm README.md", changes="discard")
    assert (kept.ok, kept.files, kept.patch) == (True, [], "")
    (repository / "data/notes.txt").write_text("three\n")
    (repository / "README.md").write_text("# Calculator\n")
    (repository / "new").mkdir()
    (repository / "new/file").write_text("new\n")
    seen = session.run("$ cat kept.txt calc.py data/notes.txt README.md new/file && echo more >> kept.txt")
    assert "kept\ndef add(a, b):\n    return a + b\nthree\n# Calculator\nnew" in seen.text
    assert kinds(seen) == {"kept.txt": "modified"}
    assert "README.md" in " ".join(seen.warnings)

    git(repository, "checkout", "-q", "-b", "other")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "the user's")
    moved = session.run("$ git log --format=%s; git branch --show-current; git status --short; echo x > x.txt")
    assert moved.text.removeprefix("It said: ").splitlines()[:3] == ["the user's", "first", "other"]
    assert kinds(moved) == {"x.txt": "added"}
    session.apply(moved)
    assert (repository / "x.txt").read_text() == "x\n"


def test_apply_between_tasks_commands_and_typed_output(
    model: ScriptedModel, repository: Path, client: docker.DockerClient
) -> None:
    folder = repository / ".opencode/commands"
    folder.mkdir(parents=True)
    (folder / "look.md").write_text("---\ndescription: Looks\n---\nLook here: $ echo $1 > $1 && ls\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "a command")
    with Sandbox(model=model.endpoint, workspace=repository, changes="apply").session() as session:
        for number in range(3):
            result = session.run(f"$ echo {number} >> count && git add -A && git commit -qm {number}")
            assert (result.applied, result.warnings) == (True, [])
            assert [commit.subject for commit in result.commits] == [str(number)]
        assert (repository / "count").read_text() == "0\n1\n2\n"
        assert git(repository, "log", "--format=%s").splitlines() == ["2", "1", "0", "a command", "first"]
        asked = session.run(command="look", arguments="fresh")
        assert kinds(asked) == {"fresh": "added"}
        assert "count" in asked.text
        assert len(containers(client, dead=False)) == 1
    assert containers(client, dead=False) == []


def test_what_waits_takes_no_time_and_goes_on_afterwards(session: Session, client: docker.DockerClient) -> None:
    session.run("$ (while :; do echo . >> /tmp/ticks; done) > /dev/null 2>&1 & echo begun")
    container = client.containers.get(containers(client, dead=False)[0].removeprefix("/"))

    def find_moving() -> set[str]:
        listed = container.top(ps_args="-o pid,stat,comm")["Processes"]
        # The agent itself is not the first in the list where the host's numbers have begun anew since.
        others = [(state, name) for pid, state, name in listed if int(pid) != container.attrs["State"]["Pid"]]
        assert 2 <= len(others) < len(listed)
        return {name for state, name in others if not state.startswith("T")}

    assert find_moving() <= {"opencode"}  # it may finish what it put off
    wait_until(lambda: not find_moving(), 5)
    before = container.stats(stream=False)["cpu_stats"]["cpu_usage"]["total_usage"]
    time.sleep(0.5)
    after = container.stats(stream=False)["cpu_stats"]["cpu_usage"]["total_usage"]
    assert after - before < 100_000_000  # nanoseconds; the loop would have taken all of them
    first = session.run("$ wc -l < /tmp/ticks")
    second = session.run("$ sleep 0.2; wc -l < /tmp/ticks")
    assert int(second.text.split()[-1]) > int(first.text.split()[-1])


def test_what_goes_on_between_tasks_ends_the_session(
    sandbox: Sandbox, repository: Path, client: docker.DockerClient
) -> None:
    (repository / "tick.py").write_text(TICK)
    with sandbox.session() as session:
        assert session.run("$ setsid python3 tick.py > /dev/null 2>&1 & sleep 1").ok
        wait_until(lambda: not containers(client, dead=False), 20)
        with pytest.raises(SandboxError, match="The session is over"):
            session.run("More.")


def test_whatever_is_left_in_gits_place_the_users_git_goes_in(session: Session, repository: Path) -> None:
    broken = "cd .git; rm -r HEAD index logs; mkfifo HEAD; ln -s /proc/1/fd/1 index; touch config.lock"
    assert session.run(f"$ {broken}").ok
    git(repository, "checkout", "--quiet", "-b", "topic")
    git(repository, "commit", "--quiet", "--allow-empty", "--message=user's")
    told = session.run("$ git status --short --branch; git log -1 --format=%s")
    assert told.text.split("It said: ")[1].splitlines() == ["## topic", "user's"]


@pytest.mark.parametrize(
    ("task", "status"),
    [("$ sleep 100", "timeout"), ("$ sleep 100", "cancelled"), ("fail", "model_error"), ("endless", "budget_exceeded")],
)
def test_a_task_that_ends_badly_ends_the_session(
    task: str, status: str, model: ScriptedModel, repository: Path, client: docker.DockerClient
) -> None:
    session = Sandbox(model=model.endpoint, workspace=repository, limits=Limits(model_calls=3)).session()
    for number in range(2):  # four calls in all, and each task has three
        assert session.run(f"$ echo {number} > one").ok
    with session.start(task, timeout=2 if status == "timeout" else None) as handle:
        for event in handle.events():
            if event.type == "tool_started" and status == "cancelled":
                handle.cancel()
        ended = handle.result()
    assert ended.status == status, ended.ending
    assert containers(client, dead=False) == []
    with pytest.raises(SandboxError, match="The session is over: its last task did not end well"):
        session.run("More.")
    session.close()
    with pytest.raises(SandboxError, match="The session is closed"):
        session.run("More.")


def test_a_container_that_was_taken_away_ends_the_session(session: Session, client: docker.DockerClient) -> None:
    assert session.run("Hello.").ok
    client.api.remove_container(containers(client, dead=False)[0], force=True)
    wait_until(lambda: not containers(client, dead=False), 5)
    with pytest.raises(SandboxError, match="The session is over: its container is gone"):
        session.run("More.")


def test_it_ends_when_nobody_comes_and_not_before(sandbox: Sandbox, client: docker.DockerClient) -> None:
    session = sandbox.session(idle=1.5)
    assert session.run("$ sleep 2").ok
    assert session.run("$ sleep 2").ok
    wait_until(lambda: not containers(client, dead=False), 10)
    with pytest.raises(SandboxError, match=r"The session is over: no task came for 1\.5 s"):
        session.run("More.")


def test_closing_ends_the_task_that_is_under_way(sandbox: Sandbox, client: docker.DockerClient) -> None:
    with sandbox.session() as session:
        handle = session.start("$ sleep 100")
        next(event for event in handle.events() if event.type == "tool_started")
        waiting = session.start("Next.")
    assert containers(client, dead=False) == []
    assert handle.result().status == "cancelled"
    with pytest.raises(SandboxError, match="The session is over: it was closed"):
        waiting.result()


def test_a_session_that_nobody_holds_ends_after_its_tasks(sandbox: Sandbox, client: docker.DockerClient) -> None:
    handles = [(session := sandbox.session()).start("$ sleep 0.5"), session.start("Second.")]
    del session
    gc.collect()
    assert [handle.result().status for handle in handles] == ["completed", "completed"]
    wait_until(lambda: not containers(client, dead=False), 10)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("kill", ["completed"]),
        ("exit", ["completed"]),
        ("fork", ["completed", "This session belongs to the process that began it", "completed"]),
    ],
)
def test_nothing_is_left_of_a_process_that_ends(
    how: str, said: list[str], model: ScriptedModel, client: docker.DockerClient
) -> None:
    environment = os.environ | {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url}
    command = [sys.executable, "-c", VICTIM, how]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    lines = done.stdout.splitlines()
    assert [line.partition(",")[0] for line in lines] == said, done.stderr
    wait_until(lambda: not containers(client), 5)


def test_tasks_wait_for_each_other_whoever_gives_them(session: Session, client: docker.DockerClient) -> None:
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda number: session.run(f"$ echo {number} >> log; wc -l < log"), range(3)))
    assert sorted(result.text.split()[-1] for result in results) == ["1", "2", "3"]
    assert len(containers(client, dead=False)) == 1

    async def elsewhere() -> list[str]:
        first = await session.astart("$ sleep 1")
        waiting = asyncio.create_task(session.arun("$ echo never >> log"))
        await asyncio.sleep(0.3)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        handle = await session.astart("$ echo never >> log")
        handle.cancel()
        texts = [(await first.aresult()).status, (await handle.aresult()).status]
        return texts + outputs([event async for event in session.astream("$ wc -l < log")])

    assert asyncio.run(elsewhere()) == ["completed", "cancelled", "3\n"]
    asyncio.run(session.aclose())
    assert containers(client, dead=False) == []


def test_typed_answers_in_one_conversation(repository: Path) -> None:
    def answer(messages: list[dict[str, Any]]) -> Turn:
        number = sum(message["role"] == "user" for message in messages)
        return {"tool_calls": [{"name": "StructuredOutput", "arguments": {"number": number}}]}

    schema = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
    with ScriptedModel(answer) as model, Sandbox(model=model.endpoint, workspace=repository).session() as session:
        results = [session.run("How many?", output=schema) for _ in range(3)]
    assert [result.structured for result in results] == [{"number": 1}, {"number": 2}, {"number": 3}]


def test_sessions_share_nothing_and_begin_with_spares(
    model: ScriptedModel, repository: Path, client: docker.DockerClient
) -> None:
    git(repository, "config", "user.name", "Ada")
    with Sandbox(model=model.endpoint, pool=1) as sandbox:
        sandbox.warm()
        (spare,) = containers(client, dead=False)
        with (
            sandbox.session(workspace=repository / "data") as folder,
            sandbox.session(workspace=Workspace(repository, exclude=["data"])) as rest,
            sandbox.session() as nothing,
        ):
            first = rest.run("$ ls data; echo hidden > /tmp/hidden; echo b > own")
            assert (first.text.count("No such file"), len(first.steps)) == (1, 2)
            assert spare in containers(client, dead=False)
            told = folder.run("$ cat notes.txt; ls /tmp/hidden; pwd; echo a > own; echo seen > /tmp/seen").text
            assert (told.count("No such file"), "/run/ws/repo/data" in told) == (1, True)
            (repository / "data/notes.txt").write_text("changed\n")
            later = folder.run("$ cat notes.txt own /tmp/seen && rm own")
            assert later.text == "It said: changed\na\nseen"
            assert kinds(later) == {"own": "deleted"}
            assert nothing.run("$ echo c > own").ok
            assert nothing.run("$ ls").text == "It said: own"
            assert not any("hidden" in words(message) for message in model.requests[-1].messages)
    assert containers(client, dead=False) == []


def test_a_mounted_folder_is_refused(sandbox: Sandbox, repository: Path) -> None:
    with pytest.raises(SandboxConfigError, match="A session works on a copy"):
        sandbox.session(workspace=Workspace(repository, mode="bind"))
