"""OpenCode's server on loopback: how it is configured, started, asked and watched."""

from __future__ import annotations

import base64
import http
import http.client
import json
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from langchain_sandbox.agent import children, endpoint, proxy

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = os.environ.get("SANDBOX_REPOSITORY", "/run/ws/repo")
HOME = "/run/home"
PORT = 4096
BINARY = "/usr/local/bin/opencode"
LOG = f"{HOME}/opencode.log"

_GC_TIMER = "/usr/local/lib/opencode/gc_timer.so"
_SHELL = "/usr/local/lib/opencode/bash"
_MODELS = "/opt/langchain-sandbox/models.json"
_BOOT_LIMIT = 60.0
_FIRST_PATIENCE = 0.1
_LAST_PATIENCE = 2.0
_KNOWN = "1.18."
_PLUGINS = "@opencode-ai/plugin"


class OpenCodeError(Exception):
    """OpenCode did not do what its interface promises; `code` names the kind for the host."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


def build_config(*, context: int, output: int, folder: str = REPOSITORY) -> dict[str, Any]:
    """OpenCode's configuration: one provider on loopback, nothing from outside, nothing ever asked.

    Args:
        context: Tokens that the model takes in all.
        output: Tokens that it may answer with.
        folder: Where it works.
    """
    return {
        "autoupdate": False,
        "share": "disabled",
        "snapshot": False,  # the host makes its own difference; a snapshot is a `git add` of the tree at each step
        "lsp": False,
        "formatter": False,
        "enabled_providers": ["sandbox"],
        "model": "sandbox/model",
        "small_model": "sandbox/model",
        "provider": {
            "sandbox": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "sandbox",
                "options": {
                    "baseURL": f"http://127.0.0.1:{endpoint.PORT}/v1",
                    "apiKey": "none",
                    "timeout": False,
                },
                "models": {
                    "model": {
                        "name": "model",
                        "tool_call": True,
                        "limit": {"context": context, "output": output},
                    }
                },
            }
        },
        # A permission that asks would wait for ever: nobody is there to answer.
        "permission": {"*": "allow", "question": "deny", "external_directory": "allow", "doom_loop": "allow"},
        # Project configuration is switched off below, and its AGENTS.md with it: that one is named here.
        "instructions": [f"{folder}/AGENTS.md"],
    }


def write_config(config: dict[str, Any]) -> str:
    """Put a configuration where OpenCode is told to look, and return the path."""
    os.makedirs(HOME, exist_ok=True)
    path = f"{HOME}/opencode.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
    _pretend_installed(f"{HOME}/.config/opencode")
    return path


def _pretend_installed(folder: str) -> None:
    """Have OpenCode fetch nothing: beside its configuration it installs a package for plugins, of which there are none.

    Where a list lets programs out, it would ask the registry in every run, by the proxy that is offered to tools.
    """
    with suppress(OSError):  # somebody's own folder is mounted there: then it may try
        os.makedirs(f"{folder}/node_modules", exist_ok=True)
        with open(f"{folder}/package-lock.json", "x", encoding="utf-8") as file:
            json.dump({"packages": {"": {"dependencies": {_PLUGINS: "*"}}}}, file)


def build_environment(*, config: str, password: str) -> dict[str, str]:
    """The environment of OpenCode and of every tool that it starts. It holds nothing worth stealing."""
    switches = (
        "AUTOUPDATE",
        "MODELS_FETCH",
        "LSP_DOWNLOAD",
        "DEFAULT_PLUGINS",
        "PROJECT_CONFIG",
        "CLAUDE_CODE",
    )
    return {
        **tool_environment(),
        **{f"OPENCODE_DISABLE_{switch}": "1" for switch in switches},
        "OPENCODE_PURE": "1",
        # A tenth of the processor time of booting, for code that runs too seldom to earn its last compilation.
        "BUN_JSC_useFTLJIT": "0",
        # Otherwise a third of a task's time is for collecting garbage. It is not in the environment of tools.
        "LD_PRELOAD": _GC_TIMER,
        # What its tools run in; by the name it knows that this is a bash. It is not in their environment either.
        "SHELL": _SHELL,
        "OPENCODE_MODELS_PATH": _MODELS,
        "OPENCODE_CONFIG": config,
        "OPENCODE_SERVER_PASSWORD": password,
    }


def tool_environment() -> dict[str, str]:
    """What any program in the container needs, git included."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": HOME,
        "XDG_DATA_HOME": f"{HOME}/.local/share",
        "XDG_CONFIG_HOME": f"{HOME}/.config",
        "XDG_STATE_HOME": f"{HOME}/.local/state",
        "XDG_CACHE_HOME": f"{HOME}/.cache",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        # Else running a project's tests would litter its patch. Not a place of its own for compiled files: Python would
        # pass over those that the image has.
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **proxy.offered(),
    }


class Feed:
    """The stream of a server's events: once `settled` is set, `flows` says whether they come.

    Args:
        on_event: Told each of them.
    """

    def __init__(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        self.settled = threading.Event()
        self.flows = False
        self._on_event = on_event
        self._turn = threading.Lock()
        self._over = False
        self._socket: socket.socket | None = None

    def follow(self, connection: http.client.HTTPConnection) -> None:
        """Tell the events that a request is answered with, until there are no more, or `end`."""
        with self._turn:
            self._socket = connection.sock
            over = self._over
        with suppress(OSError, ValueError, http.client.HTTPException):  # who waits for the server's answers learns it
            response = None if over else connection.getresponse()
            while response is not None and (line := response.readline()):
                with self._turn:
                    if self._over:
                        break
                    self.flows = True
                    self.settled.set()
                    if line.startswith(b"data:"):
                        self._on_event(json.loads(line[5:]))

    def end(self) -> None:
        """When this returns, nobody is told anything any more."""
        with self._turn:
            self._over = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        self.settle()

    def settle(self) -> None:
        """Nothing comes any more."""
        self.flows = False
        self.settled.set()


class OpenCode:
    """One `opencode serve`, spoken to over HTTP.

    `opencode run` is not used: it costs seconds more, reads standard input, quotes its arguments and ends with
    exit code 0 after many failures.
    """

    def __init__(self, *, context: int, output: int, folder: str) -> None:
        self._folder = folder
        path = write_config(build_config(context=context, output=output, folder=folder))
        password = secrets.token_urlsafe(16)
        self._authorization = "Basic " + base64.b64encode(f"opencode:{password}".encode()).decode()
        with open(LOG, "wb") as log:
            # Not started in the work folder: OpenCode would look at it before the files are there, and remember.
            self._process = children.spawn(
                [
                    BINARY,
                    "serve",
                    "--hostname",
                    "127.0.0.1",
                    "--port",
                    str(PORT),
                    "--print-logs",
                    "--log-level",
                    "WARN",
                ],
                cwd="/tmp",
                env=build_environment(config=path, password=password),
                stdout=log,
                stderr=log,
            )

    def thaw(self) -> None:
        """Let it go on, where everything was stopped."""
        children.thaw(self._process)

    def wait_ready(self) -> str:
        """Wait until the server answers and return its version.

        Raises:
            OpenCodeError: If it ends, stays silent, or is a version that we do not know.
        """
        deadline = time.monotonic() + _BOOT_LIMIT
        # OpenCode accepts connections before it answers any, and never answers those first ones: a patient request
        # would be the last to learn that it is up.
        patience = _FIRST_PATIENCE
        while time.monotonic() < deadline:
            code = children.wait(self._process, timeout=0.02)
            if code is not None:
                msg = f"OpenCode ended with {code} while starting"
                raise OpenCodeError(msg, code="opencode_start")
            try:
                health = self.call("GET", "/global/health", timeout=patience)
            except TimeoutError:
                patience = min(patience * 1.5, _LAST_PATIENCE)
                continue
            except OSError:
                continue  # it does not listen yet
            version = str(health.get("version"))
            if not version.startswith(_KNOWN):
                msg = f"the image holds OpenCode {version}; this package speaks to {_KNOWN}x"
                raise OpenCodeError(msg, code="opencode_version")
            return version
        msg = f"OpenCode did not answer within {_BOOT_LIMIT:.0f} s of its start"
        raise OpenCodeError(msg, code="opencode_start")

    def create_session(self, *, title: str) -> str:
        """Open a session in the work folder; given a title, OpenCode does not ask the model for one."""
        # Sessions made over HTTP offer the tool `question`, which would wait for ever.
        deny = [{"permission": "question", "pattern": "*", "action": "deny"}]
        session = self.call("POST", "/session", {"title": title, "permission": deny}, timeout=30.0)
        return str(session["id"])

    def prompt(
        self, session: str, *, parts: list[dict[str, Any]], agent: str, schema: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Give the task and wait, without limit, until OpenCode has done with it.

        Args:
            session: Where it is said.
            parts: The message.
            agent: OpenCode's agent that gets it.
            schema: JSON Schema of the answer, which OpenCode shows the model and does not check.
        """
        body = {
            "agent": agent,
            "model": {"providerID": "sandbox", "modelID": "model"},
            "parts": parts,
        }
        if schema is not None:
            body["format"] = {"type": "json_schema", "schema": schema}
        return self.call("POST", f"/session/{quote(session)}/message", body, timeout=None)

    def delete_session(self, session: str) -> None:
        """Have a session forgotten."""
        self.call("DELETE", f"/session/{quote(session)}", timeout=30.0)

    def wait_end(self) -> int | None:
        """Wait until the server has ended, and return its exit code."""
        return children.wait(self._process)

    def watch(self, on_event: Callable[[dict[str, Any]], None]) -> Feed:
        """Follow the server's events in a thread."""
        feed = Feed(on_event)
        threading.Thread(target=self._follow, args=(feed,), name="events", daemon=True).start()
        return feed

    def call(self, method: str, path: str, body: object = None, *, timeout: float | None) -> dict[str, Any]:
        """One request in the work folder's context.

        Raises:
            OSError: If the server does not answer.
            OpenCodeError: If it answers with an error, or with something that is not a JSON object.
        """
        response = self._request(method, path, body, timeout=timeout)
        try:
            text = response.read()
        except http.client.HTTPException as error:
            msg = f"{method} {path}: the answer was cut: {error!r}"
            raise OSError(msg) from error
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            msg = f"{method} {path} was answered with {response.status}: {text[:500].decode('utf-8', 'replace')}"
            raise OpenCodeError(msg, code="opencode_api")
        try:
            answer = json.loads(text)
        except ValueError as error:
            msg = f"{method} {path} was not answered with JSON: {text[:200]!r}"
            raise OpenCodeError(msg, code="opencode_api") from error
        return answer if isinstance(answer, dict) else {"answer": answer}

    def _request(
        self, method: str, path: str, body: object = None, *, timeout: float | None
    ) -> http.client.HTTPResponse:
        try:
            return self._ask(method, path, body, timeout=timeout).getresponse()
        except http.client.HTTPException as error:
            msg = f"{method} {path}: the answer was cut: {error!r}"
            raise OSError(msg) from error

    def _ask(self, method: str, path: str, body: object = None, *, timeout: float | None) -> http.client.HTTPConnection:
        """Send a request."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=timeout)
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        payload = None if body is None else json.dumps(body).encode("ascii")
        connection.request(method, f"{path}?directory={quote(self._folder)}", body=payload, headers=headers)
        return connection

    def _follow(self, feed: Feed) -> None:
        try:
            feed.follow(self._ask("GET", "/event", timeout=None))
        except (OSError, http.client.HTTPException):
            pass  # the server is gone; whoever waits for its answer learns it there
        finally:
            feed.settle()
