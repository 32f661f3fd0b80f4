"""What TAB gives, in a real bash; and what it loads for that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from runs import make_result

from langchain_sandbox.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
PROGRAM = f"""\
#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT)!r})
from langchain_sandbox.cli import main
sys.exit(main())
"""
SLOW = {"langchain_core.runnables", "langgraph", "docker", "httpx", "pydantic", "anyio", "rich"}
RUN = "0123456789ab"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    program = tmp_path / "bin" / "langchain-sandbox"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("SANDBOX_WORKSPACE", raising=False)
    folder = RunFolder.of(RUN)
    folder.make()
    folder.finish(make_result(run_id=RUN).model_dump(mode="json"))
    command = tmp_path / "repository" / ".opencode" / "commands" / "team" / "deploy.md"
    command.parent.mkdir(parents=True)
    command.write_text("Deploy it.")
    return os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ "}


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("langchain-sandbox comp", "langchain-sandbox completion "),
        ("langchain-sandbox run /team/d", "langchain-sandbox run /team/deploy "),
        ("langchain-sandbox run --review /ref", "langchain-sandbox run --review /refactor-audit "),
        ("langchain-sandbox show 01", f"langchain-sandbox show {RUN} "),
        ("langchain-sandbox apply last --all", "langchain-sandbox apply last --allow-risky "),
        ("langchain-sandbox completion z", "langchain-sandbox completion zsh "),
    ],
)
def test_a_tab_completes_what_was_begun(
    environment: dict[str, str], tmp_path: Path, typed: str, completed: str
) -> None:
    shell = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile"],
        env=environment,
        cwd=str(tmp_path / "repository"),
        encoding="utf-8",
        timeout=20,
    )
    shell.sendline('bind "set bell-style none"; eval "$(langchain-sandbox completion bash)"; echo rea""dy')
    shell.expect("ready\r\n")
    # What the line has become is shown by the shell itself, which prints it instead of running it.
    shell.send(f"{typed}\t\x01echo '<\x05>'\n")
    shell.expect_exact(f"\n<{completed}>")
    shell.close(force=True)


@pytest.mark.parametrize(
    ("line", "offered"), [("langchain-sandbox run /", "/refactor-audit"), ("langchain-sandbox show ", RUN)]
)
def test_a_tab_loads_nothing_slow(environment: dict[str, str], tmp_path: Path, line: str, offered: str) -> None:
    answer = tmp_path / "answer"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": " ",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    code = (
        "import os, sys\n"
        "leave = os._exit  # as argcomplete ends the process\n"
        f"os._exit = lambda code: leave(9 if {SLOW} & set(sys.modules) else code)\n"
        "from langchain_sandbox.cli import main\n"
        "main([])\n"
    )
    command = [sys.executable, "-c", code]
    subprocess.run(command, env=environment | asked, cwd=tmp_path / "repository", check=True)
    assert offered in answer.read_text().split()


def test_every_shell_has_a_script(environment: dict[str, str], tmp_path: Path) -> None:
    for shell, word in (("bash", "complete "), ("zsh", "compdef "), ("fish", "complete --command langchain-sandbox")):
        command = ["langchain-sandbox", "completion", shell]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert word in done.stdout
        assert done.stderr == ""
