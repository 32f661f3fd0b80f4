"""Deep agents that work in a container: with their own hands, and through OpenCode as a subagent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
import pytest
from agents import answers, call, calling_model, calls
from deepagents import create_deep_agent
from langchain_core.messages import HumanMessage
from support import git, say, write

from langchain_sandbox import ModelEndpoint, Sandbox, SandboxResult
from langchain_sandbox.integrations.deepagents import SandboxBackend, create_sandbox_subagent
from langchain_sandbox.testing import ScriptedModel

ROOT = "/run/ws/repo"
QUESTION = {"messages": [HumanMessage("Mend it.")]}
WORK = (
    calls(call("read_file", file_path=f"{ROOT}/calc.py", call_id="read")),
    calls(
        call("edit_file", file_path=f"{ROOT}/calc.py", old_string="a - b", new_string="a + b", call_id="edit"),
        call("write_file", file_path=f"{ROOT}/new/test_calc.py", content="from calc import add\n", call_id="write"),
    ),
    calls(call("execute", command="python3 -c 'import calc; print(calc.add(2, 3))'; pwd; exit 3", call_id="run")),
    calls(call("execute", command="seq 60000", call_id="long")),
    calls(call("grep", pattern="add", path=ROOT, call_id="grep"), call("ls", path=f"{ROOT}/new", call_id="ls")),
    say("It is mended."),
)


def check_work(state: dict[str, Any], backend: SandboxBackend, result: SandboxResult, repository: Path) -> None:
    told = answers(state)
    assert "return a - b" in told["read"].text
    assert told["run"].text.startswith(f"5\n{ROOT}\n")
    assert told["run"].artifact == {"exit_code": 3, "truncated": False}
    assert "/tmp/large_tool_results/long" in told["long"].text
    assert f"{ROOT}/new/test_calc.py" in told["ls"].text
    assert "calc.py" in told["grep"].text
    assert git(repository, "status", "--porcelain") == ""
    assert {file.path: file.kind for file in result.files} == {"calc.py": "modified", "new/test_calc.py": "added"}
    assert backend.apply(result).paths == ["calc.py", "new/test_calc.py"]
    assert (repository / "calc.py").read_text() == "def add(a, b):\n    return a + b\n"


def test_the_tools_of_an_agent_work_in_the_container(repository: Path) -> None:
    with SandboxBackend(workspace=repository) as backend, calling_model(*WORK) as model:
        state = create_deep_agent(model, backend=backend).invoke(QUESTION)
        result = backend.finish()
    check_work(state, backend, result, repository)


async def test_the_tools_of_an_agent_in_an_event_loop(repository: Path) -> None:
    sandbox = Sandbox(model="http://127.0.0.1:9/v1", workspace=repository)
    with calling_model(*WORK) as model:
        async with SandboxBackend(sandbox=sandbox) as backend:
            state = await create_deep_agent(model, backend=backend).ainvoke(QUESTION)
            result = await backend.afinish()
    check_work(state, backend, result, repository)


def test_files_go_in_and_out_one_by_one_and_none_raises() -> None:
    with SandboxBackend() as backend:
        made = backend.execute(
            "ln -s /etc/passwd link; ln -s /proc/1/environ secret; ln -s loop loop; mkfifo pipe; mkdir folder;"
            "ln -s /usr/bin out; echo x > plain; echo no > closed; chmod 0 closed; ln -s /dev/zero endless"
        )
        assert (made.exit_code, made.output) == (0, "")
        names = ["link", "secret", "loop", "pipe", "folder", "plain/x", "closed", "endless", "absent", "folder/"]
        got = backend.download_files([f"{ROOT}/{name}" for name in names] + ["plain", f"{ROOT}/pl\0ain"])
        told = {Path(one.path).name: one.error for one in got[1:]}
        assert got[0].content is not None
        assert got[0].content.startswith(b"root:x:0:0")  # the container's own
        assert [one.error for one in got[1:]] == [
            "permission_denied",
            "invalid_path",
            "invalid_path",
            "is_directory",
            "invalid_path",
            "permission_denied",
            "invalid_path",
            "file_not_found",
            "invalid_path",
            "invalid_path",
            "invalid_path",
        ], told
        put = ["made/of/folders.txt", "out/python3", "pipe", "folder", "plain/x", "loop", "endless", "closed", "../x"]
        assert [one.error for one in backend.upload_files([(f"{ROOT}/{name}", b"new\n") for name in put])] == [
            None,
            "permission_denied",
            "invalid_path",
            "is_directory",
            "invalid_path",
            "invalid_path",
            "invalid_path",
            "permission_denied",
            None,
        ]
        assert backend.upload_files([("/etc/passwd", b"")])[0].error == "permission_denied"
        assert backend.download_files([f"{ROOT}/made/of/folders.txt"])[0].content == b"new\n"


def test_what_takes_too_long_or_prints_too_much() -> None:
    with SandboxBackend(command_timeout=1) as backend:
        late = backend.execute("echo begun; sleep 60")
        assert (late.output, late.exit_code, late.truncated) == ("begun\n", 124, False)
        assert backend.execute("sleep 1.2; echo done", timeout=0).output == "done\n"
        assert backend.execute("echo \0").exit_code == backend.execute("echo \ud800").exit_code == 126
        assert backend.upload_files([(f"{ROOT}/\ud800", b"x")])[0].error
        flood = backend.execute("yes", timeout=1)
        assert (len(flood.output), flood.exit_code, flood.truncated) == (1024 * 1024, 124, True)


def test_an_agent_hears_of_it_when_the_container_is_gone(client: docker.DockerClient) -> None:
    with SandboxBackend() as backend:
        assert backend.execute("true").exit_code == 0
        client.api.kill(f"langchain-sandbox-{backend.id}")
        gone = backend.execute("true")
        assert (gone.exit_code, gone.output.startswith("The shell is over: The container ended with 137")) == (
            None,
            True,
        )
        assert "The container ended with 137" in str(backend.upload_files([(f"{ROOT}/a", b"a")])[0].error)
        assert "The container ended with 137" in str(backend.download_files([f"{ROOT}/a"])[0].error)
        assert backend.read(f"{ROOT}/a").error
        assert backend.finish().status == "crashed"


def handed(*tasks: str) -> dict[str, Any]:
    """A turn in which the agent hands out tasks."""
    made = [call("task", description=task, subagent_type="opencode", call_id=task) for task in tasks]
    return calls(*made)


def inner(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """OpenCode's turns, by what it was told."""
    task = next(message["content"] for message in messages if message["role"] == "user")
    name = "one" if "Write one" in str(task) else "two"
    if any(message["role"] == "tool" for message in messages):
        return say(f"Wrote {name}.")
    return write(f"{name}.txt", f"{name}\n")


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_tasks_side_by_side_are_runs_of_their_own(way: str, repository: Path) -> None:
    results: list[SandboxResult] = []
    turns = (handed("Write one.", "Write two."), say("Both are written."))
    with ScriptedModel(inner) as opencode, calling_model(*turns) as model:
        sandbox = Sandbox(model=opencode.endpoint, workspace=repository)
        subagent = create_sandbox_subagent(sandbox=sandbox, on_result=results.append)
        agent = create_deep_agent(model, subagents=[subagent])
        state = await agent.ainvoke(QUESTION) if way == "async" else agent.invoke(QUESTION)
    told = answers(state)
    for word in ("one", "two"):
        text = told[f"Write {word}."].text
        assert f"| Wrote {word}." in text
        assert f"added {word}.txt" in text
    assert state["messages"][-1].text == "Both are written."
    assert len({result.run_id for result in results}) == 2
    for result in results:
        sandbox.apply(result)
    assert git(repository, "status", "--porcelain").split() == ["??", "one.txt", "??", "two.txt"]


def test_a_typed_answer_is_what_the_agent_gets() -> None:
    answer = {"text": "", "tool_calls": [{"name": "StructuredOutput", "arguments": {"answer": [1, 2]}}]}
    with ScriptedModel([answer]) as opencode, calling_model(handed("Count."), say()) as model:
        subagent = create_sandbox_subagent(sandbox=Sandbox(model=opencode.endpoint), output=list[int])
        state = create_deep_agent(model, subagents=[subagent]).invoke(QUESTION)
    assert answers(state)["Count."].text == "[1, 2]"


def test_a_run_that_fails_or_cannot_be_tried_is_words() -> None:
    with calling_model(handed("Count."), say("I could not.")) as model:
        nobody = Sandbox(model=ModelEndpoint("http://127.0.0.1:9/v1"))
        agent = create_deep_agent(model, subagents=[create_sandbox_subagent(sandbox=nobody)])
        state = agent.invoke(QUESTION)
    assert "model_unreachable" in answers(state)["Count."].text
    with calling_model(handed("Count."), say("I could not.")) as model:
        nowhere = Sandbox(model=ModelEndpoint("http://127.0.0.1:9/v1"), image="nonsense:latest")
        agent = create_deep_agent(model, subagents=[create_sandbox_subagent(sandbox=nowhere)])
        state = agent.invoke(QUESTION)
    assert answers(state)["Count."].text.startswith("The sandbox could not be used.")
    assert state["messages"][-1].text == "I could not."


def test_without_the_extra_the_error_says_what_to_install() -> None:
    program = "import sys; sys.modules['deepagents'] = None\nfrom langchain_sandbox.integrations.deepagents import %s"
    done = subprocess.run(
        [sys.executable, "-c", program % "SandboxBackend"], capture_output=True, text=True, check=False
    )
    assert "ImportError: SandboxBackend needs a package more: pip install 'langchain-opencode-sandbox[deepagents]'" in (
        done.stderr
    )
    subprocess.run([sys.executable, "-c", program % "create_sandbox_subagent"], check=True)


def test_the_example_runs(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "deep_agent.py"
    done = subprocess.run([sys.executable, example], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("completed in") == 2
    assert done.stdout.endswith("backend.apply(...) changed: shop/prices.py\n")
