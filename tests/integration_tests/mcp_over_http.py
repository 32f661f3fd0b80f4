"""`langchain-sandbox mcp --http` in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from support import wait_until

from langchain_sandbox.engine import labels

if TYPE_CHECKING:
    from types import TracebackType

    import docker

    from langchain_sandbox.config import ModelEndpoint

_ADDRESS = re.compile(r"http://\S+(?=\n)")
TOKEN = "correct-horse-battery-staple"


class McpServer:
    """The server, for one repository.

    Args:
        workspace: The repository.
        model: What OpenCode thinks with.
        folder: Where its token and what it prints are kept.
        options: More of the command's.
    """

    def __init__(self, workspace: Path, model: ModelEndpoint, folder: Path, *options: str) -> None:
        self._folder = folder
        self._arguments = ["--workspace", str(workspace), "--model", model.base_url, *options]

    def __enter__(self) -> Self:
        token = self._folder / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        log = self._folder / "mcp.log"
        self._log = log.open("w")
        where = ["--http", "--port", "0", "--token-file", str(token)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "langchain_sandbox", "mcp", *where, *self._arguments],
            stdout=self._log,
            stderr=self._log,
        )
        wait_until(lambda: self._process.poll() is not None or _ADDRESS.search(log.read_text()), 60)
        found = _ADDRESS.search(log.read_text())
        assert found, log.read_text()
        self.url = found[0]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()
        print((self._folder / "mcp.log").read_text())

    def containers(self, client: docker.DockerClient) -> list[str]:
        """The containers of its runs that are there, in whatever state."""
        return [
            item["Id"]
            for item in client.api.containers(all=True, filters={"label": labels.OWNER})
            if item["Labels"][labels.OWNER].split("/")[-2] == str(self._process.pid)
        ]
