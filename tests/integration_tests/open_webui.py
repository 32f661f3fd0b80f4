"""A real Open WebUI: installed once as its slim edition, and run in a process of its own with a scripted model."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
from support import wait_until

if TYPE_CHECKING:
    from types import TracebackType

    from langchain_sandbox.config import ModelEndpoint

VERSION = "0.12.4"
ENVIRONMENT = "OPEN_WEBUI_ENV"
"""Names a virtual environment that has Open WebUI; without it, one is made and kept in pytest's cache."""


def install(cache: Path) -> Path:
    """The folder of an environment with Open WebUI; the first time takes a minute and 0.8 GB."""
    if given := os.environ.get(ENVIRONMENT):
        return Path(given)
    folder = cache / f"open-webui-{VERSION}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        pip.append("--no-compile")  # what it does not import is the most of it
        subprocess.run([*pip, "--no-deps", f"open-webui=={VERSION}"], check=True)
        # What the slim image has, as the wheel itself lists it: no torch, no embedding models.
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        subprocess.run([*pip, "-r", str(folder / f"lib/{version}/site-packages/requirements-slim.txt")], check=True)
        (folder / "complete").touch()
    return folder


class OpenWebUI:
    """The server, with one user, who is its administrator.

    Args:
        environment: What `install` gave.
        folder: Where it keeps its data.
        model: What the chats think with.
    """

    def __init__(self, environment: Path, folder: Path, model: ModelEndpoint) -> None:
        self._environment = environment
        self._folder = folder
        self._model = model
        self.log = folder / "open-webui.log"

    def __enter__(self) -> Self:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        settings = {
            "DATA_DIR": str(self._folder / "data"),
            "USE_SLIM_DOCKER": "true",
            "OFFLINE_MODE": "true",
            "ENABLE_OLLAMA_API": "false",
            "ENABLE_VERSION_UPDATE_CHECK": "false",
            "WEBUI_SECRET_KEY": "no secret",
            "OPENAI_API_BASE_URL": self._model.base_url,
            "OPENAI_API_KEY": "none",
        }
        self._output = self.log.open("wb")
        self._process = subprocess.Popen(
            [str(self._environment / "bin/open-webui"), "serve", "--host", "127.0.0.1", "--port", str(port)],
            cwd=self._folder,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | settings,
            stdout=self._output,
            stderr=self._output,
        )
        self._http = httpx.Client(base_url=self.url, timeout=30)
        wait_until(self._answers, 60)
        self.user = self.post(
            "/api/v1/auths/signup", {"name": "Ada", "email": "ada@example.com", "password": "correct horse"}
        )
        self._http.headers["Authorization"] = f"Bearer {self.user['token']}"
        (model,) = self.get("/api/models")["data"]
        self.model = model["id"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()
        self._process.terminate()
        self._process.wait(20)
        self._output.close()

    def get(self, path: str) -> Any:
        return self._http.get(path).raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        answer = self._http.post(path, json=body)
        assert answer.is_success, f"{answer.status_code} {answer.text}\n{self.log.read_text()[-4000:]}"
        return answer.json()

    def add_tool(self, file: Path) -> str:
        """Import a tool's file as an administrator does; its id is the file's name."""
        tool = {"id": file.stem, "name": "Sandbox", "content": file.read_text(), "meta": {"description": "A sandbox."}}
        return str(self.post("/api/v1/tools/create", tool)["id"])

    def set_valves(self, tool: str, valves: dict[str, Any]) -> None:
        """Set a tool up as an administrator does."""
        self.post(f"/api/v1/tools/id/{tool}/valves/update", valves)

    def add_mcp_server(self, url: str, token: str) -> str:
        """Connect to an MCP server as an administrator does, without any file."""
        connection = {
            "url": url,
            "path": "",
            "type": "mcp",
            "auth_type": "bearer",
            "key": token,
            "config": {"enable": True},
            "info": {"id": "sandbox", "name": "Sandbox", "description": "A sandbox."},
        }
        self.post("/api/v1/configs/tool_servers", {"TOOL_SERVER_CONNECTIONS": [connection]})
        return "server:mcp:sandbox"

    def ask(self, question: str, *, tools: list[str]) -> Chat:
        """Begin a chat in which the model may call tools."""
        asked, answered = str(uuid.uuid4()), str(uuid.uuid4())
        message = {"id": asked, "role": "user", "content": question, "parentId": None, "childrenIds": []}
        begun = self.post(
            "/api/chat/completions",
            {
                "model": self.model,
                "stream": True,
                "messages": [{"role": "user", "content": question}],
                "user_message": message,
                "parent_id": None,
                "id": answered,
                "session_id": "no browser",
                "tool_ids": tools,
            },
        )
        return Chat(self, begun["chat_id"], answered, begun["task_ids"][0])

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self._http.get("/health").is_success
        except httpx.TransportError:
            return False


class Chat:
    """A chat with one question, as Open WebUI has stored it."""

    def __init__(self, server: OpenWebUI, chat: str, message: str, task: str) -> None:
        self._server = server
        self.id = chat
        self._message = message
        self._task = task

    def message(self) -> dict[str, Any]:
        """The model's message, as far as it is."""
        chat = self._server.get(f"/api/v1/chats/{self.id}")["chat"]
        message: dict[str, Any] = chat["history"]["messages"][self._message]
        return message

    def wait(self, limit: float = 90) -> dict[str, Any]:
        """The model's message, once it is complete."""
        began = time.monotonic()
        while not (message := self.message()).get("done"):
            assert time.monotonic() - began < limit, message
            time.sleep(0.2)
        return message

    def statuses(self) -> list[str]:
        """The lines that told the user what goes on."""
        return [status["description"] for status in self.message().get("statusHistory", [])]

    def stop(self) -> None:
        """Press the stop button."""
        self._server.post(f"/api/tasks/stop/{self._task}", {})
