"""What runs in the container in OpenCode's place: takes a workspace in, changes it as told, sends the changes, wipes.

It is started as source, beside the package's own program in the image, and answers one request after the other. So
one container serves any number of workspaces. Standard library only, as all that runs there.
"""

from __future__ import annotations

import hashlib
import os
import queue
import random
import shutil
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from agent_side import ENVIRONMENT, FOLDER, Visit

from langchain_sandbox.agent import children
from langchain_sandbox.agent.harden import harden
from langchain_sandbox.agent.main import broken, take_link
from langchain_sandbox.agent.wire import Wire
from langchain_sandbox.link import Channel, Data, FileStream, LinkEvent, Message

_CHUNK = 1024 * 1024
_TICK = 0.01  # an older kernel's clock for files stands still for 4 ms: a change in that time leaves no trace


class Driver:
    """Does what the host asks, one request at a time."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._wire = Wire(read_fd=read_fd, write_fd=write_fd, on_event=self._on_event, on_end=lambda _: os._exit(0))
        self._requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._visit = Visit(self._wire)

    def run(self) -> None:
        """Serve until the link ends."""
        self._wire.start()
        while True:
            request = self._requests.get()
            try:
                answer = self._do(request)
            except Exception:  # noqa: BLE001 - whatever it is, the test should hear of it
                answer = {"failed": traceback.format_exc()}
            # On the files' own channel, so that it arrives behind them.
            self._wire.send_message(answer, channel=Channel.FILES, stream=FileStream.RESULT)

    def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["type"]:
            case "place":
                self._visit = Visit(self._wire, request["folder"])
            case "workspace":
                self._visit.receive(request)
            case "list":
                return {"files": list_files(Path(self._visit.folder))}
            case "operate":
                time.sleep(_TICK)
                for operation in request["operations"]:
                    perform(Path(self._visit.folder), **operation)
            case "return":
                return self._visit.send_changes(request["limit"])
            case "wipe":
                shutil.rmtree(FOLDER, ignore_errors=True)
                self._visit = Visit(self._wire)
                return {"left": [path.name for path in Path(FOLDER).parent.iterdir()]}
            case kind:
                return {"failed": f"there is no request {kind!r}"}
        return {}

    def _on_event(self, event: LinkEvent) -> None:
        if event.channel is Channel.FILES:
            self._visit.on_event(event)
        elif isinstance(event, Message):
            self._requests.put(event.body)
        elif isinstance(event, Data):
            self._wire.acknowledge(event)


def list_files(root: Path) -> dict[str, tuple[int, str]]:
    """Each file and link by its path: its mode, and a SHA-256 over its content or where it points to."""
    found = {}
    for folder, folders, names in os.walk(root):
        if Path(folder) == root:  # git's own is no part of the workspace
            folders[:] = [name for name in folders if name != ".git"]
        for path in (Path(folder, name) for name in (*names, *folders)):
            if path.is_symlink():
                content = os.fsencode(os.readlink(path))  # noqa: PTH115 - pathlib tidies the target up
                found[str(path.relative_to(root))] = (path.lstat().st_mode, hashlib.sha256(content).hexdigest())
            elif path.is_file():
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                found[str(path.relative_to(root))] = (path.lstat().st_mode, digest)
    return found


def perform(folder: Path, do: str, path: str = "", to: str = "", **options: Any) -> None:
    """Do one thing to the workspace; `desk.py` has the list."""
    if to:
        options["to"] = folder / to
    _OPERATIONS[do](folder / path, **options)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode if path.exists() else None
    if mode is not None:
        path.chmod(mode | 0o200)  # as an editor does that is told to write to what is read-only
    path.write_bytes(content.encode("latin-1"))
    if mode is not None:
        path.chmod(mode)


def _fill(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.writelines(random.randbytes(min(_CHUNK, size - start)) for start in range(0, size, _CHUNK))


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(target, path)  # noqa: PTH211 - pathlib tidies the target up


def _chmod(path: Path, mode: int) -> None:
    path.chmod(mode)


def _rename(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    path.rename(to)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _git(_: Path, arguments: list[str]) -> None:
    children.run(["git", *arguments], cwd=FOLDER, env=ENVIRONMENT)


_OPERATIONS = {
    "write": _write,
    "fill": _fill,
    "link": _link,
    "chmod": _chmod,
    "rename": _rename,
    "clear": _clear,
    "git": _git,
}


def main() -> None:
    """Run as PID 1, as the package's own program does."""
    harden()
    read_fd, write_fd = take_link()
    threading.excepthook = broken
    children.start_reaper()
    Driver(read_fd, write_fd).run()
