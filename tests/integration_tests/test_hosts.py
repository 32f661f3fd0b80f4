"""Claude Code and Codex themselves, registered as the documentation says, call the sandbox over MCP.

Their models are scripted, as OpenCode's is; the host, the protocol, the server and the container are real.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
import pytest
from host_agents import install_host
from host_models import LAST_WORDS, HostModel
from support import bash, containers_of, git, say, wait_until, write

from langchain_sandbox.testing import ScriptedModel

COMMAND = str(Path(sys.executable).with_name("langchain-sandbox"))
SCRIPT = [write("new.txt", "hello\n"), say("It is written.")]
AUDIT = {"summary": "One long function.", "findings": []}


class Host:
    """A host agent with a home of its own.

    Args:
        name: `claude` or `codex`.
        home: Where its settings are.
        repository: Where it is started.
    """

    def __init__(self, name: str, home: Path, repository: Path) -> None:
        self.name = name
        self.home = home
        self.repository = repository
        try:
            self.command = install_host(name)
        except LookupError as error:
            pytest.skip(str(error))

    def tool(self, name: str) -> str:
        """What the host calls one of the server's tools."""
        return f"mcp__sandbox__{name}" if self.name == "claude" else f"mcp__sandbox/{name.replace('-', '_')}"

    def start(self, caller: HostModel, agent: ScriptedModel, *options: str) -> subprocess.Popen[str]:
        """Have it work on one prompt; `options` are the server's."""
        arguments = ["mcp", "--workspace", ".", *options]
        environ = {
            "SANDBOX_MODEL_BASE_URL": agent.endpoint.base_url,
            "SANDBOX_STATE_DIR": os.environ["SANDBOX_STATE_DIR"],
        }
        start = self._claude if self.name == "claude" else self._codex
        return start(caller, arguments, environ)

    def _claude(self, caller: HostModel, arguments: list[str], environ: dict[str, str]) -> subprocess.Popen[str]:
        home = self._environ(CLAUDE_CONFIG_DIR=str(self.home / "claude"))
        sets = [word for key, value in environ.items() for word in ("--env", f"{key}={value}")]
        add = [self.command, "mcp", "add", "sandbox", *sets, "--", COMMAND, *arguments]
        subprocess.run(add, cwd=self.repository, env=home, capture_output=True, check=True)
        words = ["-p", "Use the sandbox.", "--allowedTools", caller.tool, "--output-format", "json"]
        return self._spawn(words, home | {"ANTHROPIC_BASE_URL": caller.url, "ANTHROPIC_API_KEY": "none"})

    def _codex(self, caller: HostModel, arguments: list[str], environ: dict[str, str]) -> subprocess.Popen[str]:
        variables = ", ".join(f"{key} = {json.dumps(value)}" for key, value in environ.items())
        settings = f"""\
model = "scripted"
model_provider = "scripted"
approval_policy = "never"
sandbox_mode = "danger-full-access"

[model_providers.scripted]
name = "scripted"
base_url = "{caller.url}/v1"
wire_api = "responses"

[mcp_servers.sandbox]
command = {json.dumps(COMMAND)}
args = {json.dumps(arguments)}
env = {{ {variables} }}
required = true
startup_timeout_sec = 60
tool_timeout_sec = 900
"""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "config.toml").write_text(settings)
        words = ["exec", "--skip-git-repo-check", "Use the sandbox."]
        return self._spawn(words, self._environ(CODEX_HOME=str(self.home)))

    def _environ(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "ENABLE_TOOL_SEARCH": "false",
            "MCP_CONNECTION_NONBLOCKING": "0",  # else it may ask its model before our tools are known
            "MCP_CONNECT_TIMEOUT_MS": "60000",
            **more,
        }

    def _spawn(self, words: list[str], environ: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.command, *words],
            cwd=self.repository,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(params=["claude", "codex"])
def host(request: pytest.FixtureRequest, tmp_path: Path, repository: Path) -> Host:
    return Host(request.param, tmp_path / "home", repository)


def ask(host: Host, caller: HostModel, agent: ScriptedModel, *options: str) -> str:
    """Have the host do its work, and return what its model was given for the call."""
    process = host.start(caller, agent, *options)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert LAST_WORDS in out, out + err
    return json.dumps(caller.answered)


def test_a_host_hands_over_a_task(host: Host) -> None:
    arguments: dict[str, Any] = {"task": "Write new.txt."}
    with HostModel(host.tool("run_in_sandbox"), arguments) as caller, ScriptedModel(SCRIPT) as agent:
        told = ask(host, caller, agent)
    assert {host.tool("run_in_sandbox"), host.tool("refactor-audit")} <= caller.offered
    assert "It is written." in told
    assert "new.txt" in told
    assert "not been applied" in told or "not applied" in told
    assert git(host.repository, "status", "--porcelain") == ""


def test_a_host_calls_a_command_and_gets_its_typed_answer(host: Host) -> None:
    answer = {"text": "", "tool_calls": [{"name": "StructuredOutput", "arguments": AUDIT}]}
    with HostModel(host.tool("refactor-audit"), {"scope": "calc.py"}) as caller, ScriptedModel([answer]) as agent:
        told = ask(host, caller, agent)
        assert "calc.py" in str(agent.requests[0].messages)
    assert AUDIT["summary"] in told


def test_a_host_may_have_changes_applied(host: Host) -> None:
    with HostModel(host.tool("run_in_sandbox"), {"task": "Write."}) as caller, ScriptedModel(SCRIPT) as agent:
        told = ask(host, caller, agent, "--changes", "apply")
    assert "applied" in told
    assert (host.repository / "new.txt").read_text() == "hello\n"


def test_a_host_is_told_why_a_run_failed(host: Host) -> None:
    with (
        HostModel(host.tool("run_in_sandbox"), {"task": "Write."}) as caller,
        ScriptedModel([], fault="refused") as agent,
    ):
        told = ask(host, caller, agent)
    assert "model_unreachable" in told


def test_a_host_that_is_interrupted_leaves_no_container(host: Host, client: docker.DockerClient) -> None:
    with (
        HostModel(host.tool("run_in_sandbox"), {"task": "Wait."}) as caller,
        ScriptedModel([bash("sleep 600")]) as agent,
    ):
        process = host.start(caller, agent)
        wait_until(lambda: agent.requests, 60)
        state = Path(os.environ["SANDBOX_STATE_DIR"])
        assert len(containers_of(client, state)) == 1
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        wait_until(lambda: not containers_of(client, state), 10)
