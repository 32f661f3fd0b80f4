"""The limit: one `opencode serve` in a container that lives on, asked over HTTP or by `opencode run --attach`.

What we are measured against. It keeps nothing of one task from the next, and is reached over a network.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import subprocess
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from bare import PREFIX, find_docker
from board.contestant import Arena, Attempt, Contestant, Entrant
from coding_task import TASK, is_done
from cold_task import TIMEOUT, build_config
from pairs import BenchmarkError

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.owner import current_owner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PORT = 4096
_FOLDER = "/run/ws"
_BOOT_LIMIT = 60.0
_POLL = 0.1
_ASK = """
import time, urllib.request
deadline = time.monotonic() + {limit}
while True:
    try:
        urllib.request.urlopen("http://127.0.0.1:{port}/global/health", timeout=1).read()
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep({pause})
"""


class SharedServer:
    """A container with `opencode serve`, and a copy of the repository for each lane.

    Args:
        name: The container's.
        port: On this machine's loopback.
        folder: It holds the copies, and is mounted.
    """

    def __init__(self, *, name: str, port: int, folder: Path) -> None:
        self.name = name
        self._port = port
        self._folder = folder

    def prepare(self, lane: int) -> None:
        """Take back what the lane's last task changed."""
        _call("git", "-C", str(self._repository(lane)), "checkout", "--quiet", ".")

    def prompt(self, lane: int) -> Attempt:
        """Have the task done over HTTP, in a session of its own."""
        began = time.perf_counter()
        where = f"?directory={_place(lane)}"
        session = self.request("POST", f"/session{where}", {"title": "t"})
        prompt = {
            "agent": "build",
            "model": {"providerID": "sandbox", "modelID": "model"},
            "parts": [{"type": "text", "text": TASK}],
        }
        answer = self.request("POST", f"/session/{session['id']}/message{where}", prompt)
        return self._check(lane, time.perf_counter() - began, str(answer))

    def attach(self, lane: int) -> Attempt:
        """Have the task done by `opencode run --attach`, in the same container."""
        began = time.perf_counter()
        place = [f"--attach=http://127.0.0.1:{_PORT}", f"--dir={_place(lane)}"]
        words = ["--format=json", "--title=t", "--model=sandbox/model"]
        output = _call(find_docker(), "exec", self.name, "opencode", "run", *place, *words, TASK)
        return self._check(lane, time.perf_counter() - began, output)

    def request(self, method: str, path: str, body: Any = None, *, timeout: float = TIMEOUT) -> Any:
        """One call of OpenCode's HTTP API, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout)
        try:
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def _check(self, lane: int, took: float, words: str) -> Attempt:
        if not is_done(self._repository(lane)):
            msg = f"The shared server did not do its task; its last words: {words[-1000:]!r}"
            raise BenchmarkError(msg)
        return Attempt(took)

    def _repository(self, lane: int) -> Path:
        return self._folder / _name(lane)


@contextmanager
def open_server(arena: Arena) -> Iterator[SharedServer]:
    """A server that has done the task once in every lane, so that all of them are warm."""
    name = f"{PREFIX}{secrets.token_hex(6)}"
    folder = arena.folder / name
    for lane in range(arena.lanes):
        shutil.copytree(arena.repository, folder / _name(lane))
    flags = [
        f"--name={name}",
        f"--label={labels.OWNER}={current_owner()}",
        f"--publish=127.0.0.1::{_PORT}",
        f"--volume={folder}:{_FOLDER}",
        f"--workdir={_FOLDER}",
        # Whoever runs this must be able to change and delete what it leaves in the copies.
        f"--user={os.getuid()}:{os.getgid()}",
        "--env=HOME=/tmp",
        "--env=OPENCODE_DISABLE_AUTOUPDATE=1",
        "--env=OPENCODE_DISABLE_MODELS_FETCH=1",
        "--env=OPENCODE_DISABLE_LSP_DOWNLOAD=1",
        "--env=OPENCODE_DISABLE_DEFAULT_PLUGINS=1",
        f"--env=OPENCODE_CONFIG_CONTENT={json.dumps({**build_config(arena.endpoint), 'snapshot': False})}",
        "--entrypoint=opencode",
    ]
    _call(
        find_docker(), "run", "--detach", "--rm", *flags, arena.image, "serve", "--hostname=0.0.0.0", f"--port={_PORT}"
    )
    try:
        published = _call(find_docker(), "port", name, str(_PORT))
        server = SharedServer(name=name, port=int(published.split()[-1].rpartition(":")[2]), folder=folder)
        _wait_until_up(name)
        for lane in range(arena.lanes):
            server.prompt(lane)
        yield server
    finally:
        subprocess.run([find_docker(), "rm", "--force", name], capture_output=True, check=False)
        shutil.rmtree(folder)


def _wait_until_up(name: str) -> None:
    """Ask until it answers, from inside: who gives up on it through a published port keeps it busy from then on.

    It takes connections before it answers any, and never answers those. Docker's proxy closes only its half of one that
    the client has closed, and over that OpenCode has a core busy for as long as it lives.
    """
    try:
        _call(find_docker(), "exec", name, "python3", "-c", _ASK.format(port=_PORT, limit=_BOOT_LIMIT, pause=_POLL))
    except BenchmarkError as error:
        msg = f"The shared server was not up within {_BOOT_LIMIT:g} s: {error}"
        raise BenchmarkError(msg) from error


@contextmanager
def _open_hot(arena: Arena) -> Iterator[Entrant]:
    with open_server(arena) as server:
        yield Entrant(prepare=server.prepare, attempt=server.prompt)


@contextmanager
def _open_attach(arena: Arena) -> Iterator[Entrant]:
    with open_server(arena) as server:
        yield Entrant(prepare=server.prepare, attempt=partial(server.attach))


def _name(lane: int) -> str:
    return f"repository-{lane}"


def _place(lane: int) -> str:
    return f"{_FOLDER}/{_name(lane)}"


def _call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode != 0:
        msg = f"{' '.join(command)[:200]} ended with {done.returncode}: {done.stderr[-1000:].strip()}"
        raise BenchmarkError(msg)
    return done.stdout


HOT = Contestant(
    name="hot prompt",
    part="task",
    what=(
        "the limit: `opencode serve` of our image in one long-lived container (`docker run --detach`, a published "
        "loopback port, the repository mounted, straight to the model server), asked over HTTP by `POST /session` and "
        "`POST /session/ID/message`. All tasks share it; what the last one changed is taken back before the clock "
        "starts. It makes no patch. It is OpenCode as anybody starts it: its engine collects garbage every 16 ms, and "
        "ours does not (decision 21)."
    ),
    open=_open_hot,
)
ATTACH = Contestant(
    name="run --attach",
    part="task",
    what=(
        "`opencode run --attach` to such a server, by `docker exec` in its container, from the start of the docker "
        "command to its end."
    ),
    open=_open_attach,
)
