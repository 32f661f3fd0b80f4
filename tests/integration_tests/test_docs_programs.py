"""What the documents show is what happens: the quickstart as somebody types it, the programs of the pages."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import make_repository, say, write

from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
FIXED = "    return sum(prices) * (100 - discount) / 100\n"


def find_blocks(page: str, mark: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What a terminal has in which the page's steps were taken until then, with the stand-in running beside it."""
    (program,) = find_blocks("quickstart.md", "stand-in")
    assert "port=8000" in program
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "stand_in.py").write_text(program.replace("8000", str(port)))
    command = [sys.executable, "-u", "stand_in.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stand_in:
        assert stand_in.stdout is not None
        assert "answers at" in stand_in.stdout.readline()
        programs = Path(sys.executable).parent
        yield os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SANDBOX_MODEL_BASE_URL": f"http://127.0.0.1:{port}/v1",
        }
        stand_in.communicate("\n")
    assert stand_in.returncode == 0


def test_each_step_of_the_quickstart_does_what_the_page_says(tmp_path: Path, environ: dict[str, str]) -> None:
    first, second = find_blocks("quickstart.md", "run")
    (program,) = find_blocks("quickstart.md", "run-python")

    def enter(*command: str, folder: Path = tmp_path) -> str:
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.search("Everything that a run needs is there|Runs should work", enter("langchain-sandbox", "doctor"))
    assert f"+{FIXED}" in enter("bash", "-ec", first)
    shop = tmp_path / "shop"
    assert {path.name for path in shop.iterdir()} == {"prices.py", "test_prices.py"}
    assert FIXED not in (shop / "prices.py").read_text()
    assert enter("bash", "-ec", second, folder=shop).endswith(FIXED)
    assert enter(sys.executable, "-c", program, folder=shop).startswith("completed - ")


def run_page(program: str, folder: Path, endpoint: str, *, before: str = "", after: str) -> str:
    """Run a page's program, and return what is printed after it."""
    make_repository(folder / "path" / "to" / "repository", {"a.txt": "a\n"})
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{program}\n{after}"],
        cwd=folder,
        env=os.environ | {"SANDBOX_MODEL_BASE_URL": endpoint},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_an_agent_as_the_page_shows_it(tmp_path: Path) -> None:
    (program,) = find_blocks("graphs.md", "agent")
    call = {"text": "", "tool_calls": [{"name": "run_in_sandbox", "arguments": {"task": "Mend it."}}]}
    with ScriptedModel([call, say("It is mended.")]) as caller, ScriptedModel([write("b.txt", "b\n"), say()]) as model:
        chat = f"model = ChatOpenAI(base_url={caller.endpoint.base_url!r}, api_key='none')"
        before = f"from langchain_openai import ChatOpenAI\n{chat}"
        after = "print([message.type for message in answer['messages']], answer['messages'][-1].text)"
        printed = run_page(program, tmp_path, model.endpoint.base_url, before=before, after=after)
    assert printed == "['human', 'ai', 'tool', 'ai'] It is mended.\n"


def test_a_node_as_the_page_shows_it(tmp_path: Path) -> None:
    (program,) = find_blocks("graphs.md", "node")
    with ScriptedModel([write("b.txt", "b\n"), say("It passes now.")]) as model:
        after = "print(result['status'], result['text'], [file['path'] for file in result['files']])"
        printed = run_page(program, tmp_path, model.endpoint.base_url, after=after)
    assert printed == "completed It passes now. ['b.txt']\n"


def test_a_review_as_the_page_shows_it(tmp_path: Path) -> None:
    (program,) = find_blocks("review.md", "review")
    with ScriptedModel([write("b.txt", "b\n"), say()]) as model:
        after = "print(state['sandbox_results'][-1]['review']['decision'], open('path/to/repository/b.txt').read())"
        printed = run_page(program, tmp_path, model.endpoint.base_url, after=after)
    assert "+b\n" in printed
    assert printed.endswith("\naccept b\n\n")


def test_reviews_side_by_side_as_the_page_shows_them(tmp_path: Path) -> None:
    def work(messages: list) -> dict:
        return say() if messages[-1]["role"] == "tool" else write("b.txt", "b\n")

    (program,) = find_blocks("review.md", "subgraph")
    for name in ("shop", "site"):
        make_repository(tmp_path / "path" / "to" / name, {"a.txt": "a\n"})
    with ScriptedModel(work) as model:
        after = "print([result['review']['decision'] for result in state['sandbox_results']])"
        printed = run_page(program, tmp_path, model.endpoint.base_url, after=after)
    assert printed == "['accept', 'accept']\n"
    assert [(tmp_path / "path" / "to" / name / "b.txt").exists() for name in ("shop", "site")] == [True, True]


def test_a_deep_agent_with_its_own_hands_as_the_page_shows_it(tmp_path: Path) -> None:
    (program,) = find_blocks("deepagents.md", "backend")
    call = {"name": "write_file", "arguments": {"file_path": "/run/ws/repo/b.txt", "content": "b\n"}}
    with ScriptedModel([{"text": "", "tool_calls": [call]}, say("It passes now.")]) as caller:
        before = (
            "import os; del os.environ['SANDBOX_MODEL_BASE_URL']\nfrom langchain_openai import ChatOpenAI\n"
            f"model = ChatOpenAI(base_url={caller.endpoint.base_url!r}, api_key='none')"
        )
        assert run_page(program, tmp_path, "none", before=before, after="") == "completed ['b.txt']\n"


def test_a_deep_agent_that_hands_tasks_out_as_the_page_shows_it(tmp_path: Path) -> None:
    (program,) = find_blocks("deepagents.md", "subagent")
    call = {"name": "task", "arguments": {"description": "Mend it.", "subagent_type": "opencode"}}
    turns = [{"text": "", "tool_calls": [call]}, say("It is mended.")]
    with ScriptedModel(turns) as caller, ScriptedModel([write("b.txt", "b\n"), say()]) as model:
        chat = f"model = ChatOpenAI(base_url={caller.endpoint.base_url!r}, api_key='none')"
        before = f"from langchain_openai import ChatOpenAI\n{chat}"
        printed = run_page(program, tmp_path, model.endpoint.base_url, before=before, after="")
    assert printed == "['completed']\n"


def test_a_shell_as_the_page_shows_it(tmp_path: Path) -> None:
    (program,) = find_blocks("deepagents.md", "shell")
    assert run_page(program, tmp_path, "none", after="") == "first\n\nb'9\\n10\\n'\n3\n['new.txt']\n"


def test_a_revision_as_the_page_shows_it(tmp_path: Path) -> None:
    (program,) = find_blocks("revisions.md", "revise")
    script = [write("prices.py", "one\n"), say(), write("test_prices.py", "two\n"), say()]
    with ScriptedModel(script) as model:
        after = "print(better.settings.revises == result.run_id, [file.path for file in better.files])"
        printed = run_page(program, tmp_path, model.endpoint.base_url, after=after)
    assert printed == "True ['prices.py', 'test_prices.py']\n"
    folder = tmp_path / "path/to/repository"
    assert {path.name for path in folder.glob("*.py")} == {"prices.py", "test_prices.py"}


def test_a_chat_model_as_the_page_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = find_blocks("chat-models.md", "chat-model")
    with ScriptedModel([write("b.txt", "b\n"), say("It passes now.")]) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.endpoint.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        after = "print(result.status, result.text, result.receipt.model, result.usage.prompt_tokens > 0)"
        printed = run_page(program, tmp_path, "", after=after)
    assert printed == "completed It passes now. gpt-5 True\n"


def test_a_sessions_tasks_remember_each_other(tmp_path: Path) -> None:
    (program,) = find_blocks("sessions.md", "session")
    script = [write("plan.txt", "a plan\n"), say("So."), write("a.txt", "A\n"), say(), write("b.txt", "b\n"), say()]
    with ScriptedModel(script) as model:
        said = run_page(program, tmp_path, model.endpoint.base_url, after="print(plan.files, tested.applied)")
        assert "How would you split" in str(model.requests[-1].messages)
    assert said.split() == ["[]", "True"]
    repository = tmp_path / "path" / "to" / "repository"
    assert [(repository / name).read_text() for name in ("a.txt", "b.txt")] == ["A\n", "b\n"]
    assert not (repository / "plan.txt").exists()


def test_a_threads_tasks_remember_each_other(tmp_path: Path) -> None:
    (program,) = find_blocks("sessions.md", "thread")
    with ScriptedModel([say("So."), say("Done.")]) as model:
        said = run_page(program, tmp_path, model.endpoint.base_url, after="print(len(state['sandbox_results']))")
        assert "How would you split" in str(model.requests[-1].messages)
    assert said.split() == ["2"]
