"""What the tests on the real engine share: turns of a scripted model, repositories, and a look at the engine."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.owner import current_owner, is_dead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import docker

    from langchain_sandbox.testing import ScriptedModel, Turn

LABELLED = {"label": labels.OWNER}
OPENCODE = "$(cut -d ' ' -f 4 /proc/$PPID/stat)"
"""OpenCode's number, as a tool finds it out: it is the parent of who waits for the tool's shell."""


def bash(command: str, text: str = "") -> Turn:
    """A turn in which the model has a command run."""
    return {"text": text, "tool_calls": [{"name": "bash", "arguments": {"command": command, "description": "test"}}]}


def write(path: str, content: str) -> Turn:
    """A turn in which the model writes a file of the repository."""
    arguments = {"filePath": f"/run/ws/repo/{path}", "content": content}
    return {"text": "", "tool_calls": [{"name": "write", "arguments": arguments}]}


def say(text: str = "Done.") -> Turn:
    """A turn in which the model says its last word."""
    return {"text": text}


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder with an identity of its own."""
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_repository(folder: Path, files: dict[str, str | bytes]) -> Path:
    """A repository with one commit."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet")
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "first")
    return folder


def containers(client: docker.DockerClient, *, run_id: str | None = None, dead: bool = True) -> list[str]:
    """Names of the containers of ours that are there, in whatever state; other living processes' do not count.

    Args:
        client: The engine's.
        run_id: The only run that counts; all by default.
        dead: Whether those of processes that are gone count.
    """
    ours = {
        name: item["Labels"]
        for item in client.api.containers(all=True, filters=LABELLED)
        for name in item["Names"]
        if item["Labels"][labels.OWNER] == current_owner() or (dead and is_dead(item["Labels"][labels.OWNER]))
    }
    return [name for name, marks in ours.items() if run_id in {None, marks.get(labels.RUN)}]


def containers_of(client: docker.DockerClient, state: Path) -> list[str]:
    """Names of the containers, in whatever state, of the runs that a state folder knows, whoever owns them."""
    known = {f"/langchain-sandbox-{folder.name}" for folder in (state / "runs").glob("*")}
    there = client.api.containers(all=True, filters=LABELLED)
    return [name for item in there for name in item["Names"] if name in known]


def wait_until(condition: Callable[[], Any], limit: float) -> float:
    """Wait until a condition holds and return the seconds that it took; more than `limit` fails."""
    began = time.monotonic()
    while not condition():
        took = time.monotonic() - began
        assert took < limit, f"still not so after {took:.1f} s"
        time.sleep(0.02)
    return time.monotonic() - began


def outputs(events: Iterable[Any]) -> list[str]:
    """What the tools of a run printed, in order."""
    return [event.output for event in events if event.type == "tool_ended"]


def told(model: ScriptedModel) -> list[str]:
    """What the tools printed, as the model was told."""
    return [str(message["content"]) for message in model.requests[-1].messages if message["role"] == "tool"]
