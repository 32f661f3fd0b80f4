"""Without a task the same image is OpenCode's own screen, driven here through a pseudo-terminal."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pexpect
import pyte
import pytest
from compose_checkout import Checkout
from support import bash, make_repository, say

from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker

_LIMIT = 40.0


class Terminal:
    """A program on a terminal, and what is to be seen there.

    Args:
        command: Its command line.
        cwd: Where it starts.
        environment: What it gets besides ours.
    """

    def __init__(self, command: list[str], *, cwd: Path, environment: dict[str, str]) -> None:
        self._screen = pyte.Screen(120, 40)
        self._stream = pyte.ByteStream(self._screen)
        self._process = pexpect.spawn(
            command[0],
            command[1:],
            cwd=str(cwd),
            env=os.environ | {"TERM": "xterm-256color"} | environment,
            dimensions=(40, 120),
        )

    @property
    def text(self) -> str:
        """The screen, line by line."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Read until a condition holds."""
        deadline = time.monotonic() + _LIMIT
        while not condition():
            assert time.monotonic() < deadline, self.text
            try:
                self._stream.feed(self._process.read_nonblocking(65536, timeout=0.1))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                assert condition(), self.text
                return

    def type(self, text: str) -> None:
        """Type as a person does."""
        self._process.send(text)

    def end(self) -> int:
        """Wait for the program's end and return its exit code."""
        self._process.expect(pexpect.EOF, timeout=_LIMIT)
        self._process.close()
        assert self._process.exitstatus is not None
        return self._process.exitstatus


@pytest.fixture
def checkout(tmp_path: Path, client: docker.DockerClient) -> Iterator[Checkout]:
    """A blank checkout; when the test is over nothing of it is left on the engine."""
    checkout = Checkout(tmp_path / "checkout", model=None)
    yield checkout
    checkout.down()
    assert checkout.remains(client) == {}


def test_a_person_has_opencodes_screen_in_the_same_walls(checkout: Checkout, client: docker.DockerClient) -> None:
    script = [bash("echo seen > seen.txt; grep CapEff /proc/self/status; cat /proc/net/dev | wc -l"), say("All done.")]
    with ScriptedModel(script) as model:
        make_repository(checkout.workspace, {"README.md": "# it\n"})
        environment = checkout.environment | {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url}
        command = checkout.command("run", "--rm", "opencode", file="compose.yml")
        terminal = Terminal(command, cwd=checkout.folder, environment=environment)
        terminal.wait_for(lambda: "Ask anything" in terminal.text)
        running = client.containers.list(filters={"label": f"com.docker.compose.project={checkout.name}"})
        (agent,) = [container for container in running if "-run-" in container.name]
        host = agent.attrs["HostConfig"]
        assert (host["NetworkMode"], host["ReadonlyRootfs"], host["CapDrop"]) == ("none", True, ["ALL"])
        assert agent.attrs["Config"]["Tty"]

        terminal.type("write a file\r")
        terminal.wait_for(lambda: "Permission required" in terminal.text or "All done." in terminal.text)
        if "Permission required" in terminal.text:  # here somebody can be asked
            terminal.type("\r")
        terminal.wait_for(lambda: "All done." in terminal.text)
        terminal.type("\x03")
        assert terminal.end() == 0
        (output,) = [str(m["content"]) for m in model.requests[-1].messages if m["role"] == "tool"]
    assert "CapEff:\t0000000000000000" in output
    # The agent works in the folder itself, and the file belongs to whoever has the others.
    assert (checkout.workspace / "seen.txt").read_text() == "seen\n"
    assert (checkout.workspace / "seen.txt").stat().st_uid == 1000
    assert set(checkout.remains(client).values()) <= {"running", "exited", "volume"}


def test_a_model_that_is_down_is_said_before_the_screen_opens(checkout: Checkout) -> None:
    with ScriptedModel([], fault="refused") as model:
        environment = checkout.environment | {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url}
        command = checkout.command("run", "--rm", "opencode", file="compose.yml")
        terminal = Terminal(command, cwd=checkout.folder, environment=environment)
        terminal.wait_for(lambda: "The model cannot be used" in terminal.text)
        assert terminal.end() == 2
