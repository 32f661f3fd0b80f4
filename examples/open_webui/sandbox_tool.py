"""
title: Sandbox
description: Hands coding tasks to OpenCode in an ephemeral container, through `langchain-sandbox mcp --http`.
author: the langchain-opencode-sandbox maintainers
version: 1.0.0
license: MIT
required_open_webui_version: 0.12.4
requirements: mcp~=2.3
"""  # noqa: D205, D212, D415 - Open WebUI reads these lines, and wants the quotes alone on theirs

import asyncio
import json
import math
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from pydantic import BaseModel, Field

FREE = "run_in_sandbox"
MAX_SHOWN = 200_000  # characters of a diff or a report: the chat is stored with what is shown in it
CONNECTING = 10  # seconds
ANSWERING = 30  # seconds for what is no run
SILENCE = 300  # seconds; while a run lasts, the server lets something be heard every few
PAUSE = 0.3  # seconds between two lines of what a run does: each is written to Open WebUI's database

# Makes the frame of the report, which Open WebUI shuts off from its own page, as high as the report, within limits. It
# stands before the report, whose own rules allow no script.
FITTING = """<!doctype html><script>
const page = document.documentElement;
const tell = () => parent.postMessage({type: "iframe:height", height: Math.min(page.offsetHeight, 640)}, "*");
new ResizeObserver(tell).observe(page);
</script>
"""

Emit = Callable[[dict[str, Any]], Awaitable[Any]]


class Tools:
    """What a chat's model may call: a free task, and the commands that the repository has for agents."""

    class Valves(BaseModel):
        """What an administrator sets."""

        server_url: str = Field(
            default="",
            description="Where `langchain-sandbox mcp --http` listens, such as http://host.docker.internal:8765/mcp. "
            "Empty: SANDBOX_MCP_URL in Open WebUI's environment, or else http://127.0.0.1:8765/mcp.",
        )
        token: str = Field(
            default="",
            description="The server's token. Empty: SANDBOX_MCP_TOKEN in Open WebUI's environment.",
            json_schema_extra={"input": {"type": "password"}},
        )
        timeout: int = Field(
            default=0,
            ge=0,
            description="Seconds that a free task may take, at most what the server allows. 0: that.",
        )

    class UserValves(BaseModel):
        """What each user sets."""

        show_diff: bool = Field(default=True, description="Cite what a run has changed, as a diff.")
        show_report: bool = Field(default=False, description="Show the report of a run in the chat.")

    def __init__(self) -> None:
        self.valves = self.Valves()
        self.citation = False  # the diff is cited here; Open WebUI need not cite the tool's text as well

    async def run_in_sandbox(
        self,
        task: str,
        files: list[str] | None = None,
        __user__: dict[str, Any] | None = None,
        __event_emitter__: Emit | None = None,
        __event_call__: Emit | None = None,
    ) -> Any:  # noqa: ANN401 - a text, or Open WebUI's pair of a page and a text
        """Hand a coding task to an autonomous coding agent that works on a copy of the repository.

        It can read, edit and run programs, in an isolated container without network, and returns what it did. The
        user is shown the changes as a diff. One call is one complete task.

        :param task: What the agent should do, complete in itself: it sees the repository, not this conversation.
        :param files: Files of the repository to look at first, as names relative to its root.
        """
        arguments = {"task": task, "files": files or []}
        return await self._run(FREE, arguments, __user__, __event_emitter__, __event_call__)

    async def list_commands(self) -> str:
        """List the commands that the repository has for the sandbox's agent, with the arguments of each."""
        try:
            async with self._connect() as client:
                commands = [tool for tool in await _list_tools(client) if tool.name != FREE]
        except SandboxServerError as error:
            return f"Error: {error}"
        return _describe(commands)

    async def run_command(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        __user__: dict[str, Any] | None = None,
        __event_emitter__: Emit | None = None,
        __event_call__: Emit | None = None,
    ) -> Any:  # noqa: ANN401 - as above
        """Run one of the repository's commands in the sandbox. Call list_commands first to see which there are.

        :param name: The command's name, as list_commands gives it.
        :param arguments: The command's arguments, by name.
        """
        return await self._run(name, arguments or {}, __user__, __event_emitter__, __event_call__)

    async def _run(
        self,
        name: str,
        arguments: dict[str, Any],
        user: dict[str, Any] | None,
        emit: Emit | None,
        call: Emit | None,
    ) -> Any:  # noqa: ANN401 - as above
        wishes = (user or {}).get("valves") or self.UserValves()
        async with _Status(emit) as status:
            try:
                await status.say("Reaching the sandbox server")
                async with self._connect(call) as client:
                    given = _fit(await _list_tools(client), name, arguments, self.valves.timeout)
                    result = await client.call_tool(
                        name, given, read_timeout_seconds=math.inf, progress_callback=status.progress
                    )
                    diff = await _read(client, result, "text/x-diff") if wishes.show_diff else ""
                    report = await _read(client, result, "text/html") if wishes.show_report else ""
            except SandboxServerError as error:
                await status.say(str(error).partition("\n")[0], done=True)
                return f"Error: {error}"
            except asyncio.CancelledError:
                await status.say("Cancelled", done=True)
                raise
            await status.say(_sum_up(result), done=True)
            if diff and emit:
                await emit(_cite(diff, (result.structured_content or {}).get("run_id", "")))
        text = _text_of(result)
        if not report:
            return text
        from starlette.responses import HTMLResponse  # noqa: PLC0415 - Open WebUI has it; who tests this file may not

        return HTMLResponse(FITTING + report, headers={"Content-Disposition": "inline"}), text

    @asynccontextmanager
    async def _connect(self, call: Emit | None = None) -> AsyncIterator[Any]:
        """A client of the server; whatever goes wrong with it is a `SandboxServerError` that says what to do."""
        try:
            import httpx2  # noqa: PLC0415 - a clear error where Open WebUI is too old
            from mcp import Client  # noqa: PLC0415
            from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415
        except ImportError as error:
            msg = f"This tool needs the Python package mcp 2.3 or newer, as Open WebUI 0.12.4 has it ({error})."
            raise SandboxServerError(msg) from error

        url = self.valves.server_url or os.environ.get("SANDBOX_MCP_URL") or "http://127.0.0.1:8765/mcp"
        token = self.valves.token or os.environ.get("SANDBOX_MCP_TOKEN", "")
        statuses: list[int] = []  # the SDK's errors do not say them

        async def note(response: httpx2.Response) -> None:
            statuses.append(response.status_code)

        http = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx2.Timeout(CONNECTING, read=SILENCE),
            event_hooks={"response": [note]},
        )
        try:
            async with (
                http,
                Client(
                    streamable_http_client(url, http_client=http),
                    read_timeout_seconds=ANSWERING,
                    elicitation_callback=_ask_with(call),
                ) as client,
            ):
                yield client
        except Exception as error:
            own = next((each for each in _leaves(error) if isinstance(each, SandboxServerError)), None)
            raise own or SandboxServerError(_explain(url, _leaves(error), statuses, has_token=bool(token))) from error


class SandboxServerError(Exception):
    """Nothing came of it, and the message says what to do."""


class _Status:
    """Shows in the chat what a run does now."""

    def __init__(self, emit: Emit | None) -> None:
        self._emit = emit
        self._next = ""
        self._shown = ""
        self._news = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._pump = asyncio.create_task(self._show())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def progress(self, _progress: float, _total: float | None, message: str | None) -> None:
        """Take the server's news; what is overtaken before it could be shown is left out."""
        if message:
            self._next = message
            self._news.set()

    async def say(self, text: str, *, done: bool = False) -> None:
        """Show a line; the last one is `done`."""
        if done:
            await self._stop()
        self._shown = text
        if self._emit:
            await self._emit({"type": "status", "data": {"description": text, "done": done}})

    async def _show(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._next != self._shown:
                await self.say(self._next)
                await asyncio.sleep(PAUSE)

    async def _stop(self) -> None:
        if self._pump:
            self._pump.cancel()
            await asyncio.wait([self._pump])  # whatever became of it is no reason to lose a run's result
            self._pump = None


def _ask_with(call: Emit | None) -> Callable[..., Awaitable[Any]]:
    """Let the server's questions, such as whether changes are to be applied, be answered by the user.

    Where there is no user to ask, the answer is no: a server that hears that nobody can be asked would leave the
    decision to the chat's model.
    """
    from mcp.types import ElicitResult  # noqa: PLC0415 - as in `_connect`

    async def ask(_context: object, params: Any) -> ElicitResult:  # noqa: ANN401 - of either kind
        if call is None:
            return ElicitResult(action="cancel")
        asked = params.model_dump(mode="json", by_alias=True, include={"mode", "message", "requested_schema", "url"})
        answer = await call({"type": "request:elicitation", "data": {**asked, "server_name": "sandbox"}})
        if not isinstance(answer, dict) or answer.get("action") not in {"accept", "decline"}:
            return ElicitResult(action="cancel")  # nobody is there any more
        content = answer.get("content") if answer["action"] == "accept" else None
        return ElicitResult(action=answer["action"], content=content)

    return ask


async def _list_tools(client: Any) -> list[Any]:  # noqa: ANN401 - mcp's types come late, as in `_connect`
    tools, cursor = [], None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            return tools


def _fit(tools: list[Any], name: str, arguments: dict[str, Any], timeout: int) -> dict[str, Any]:
    """The arguments as the server's tool takes them; only a free task has ours, a command's are its own."""
    tool = next((tool for tool in tools if tool.name == name), None)
    if tool is None:
        msg = f"There is no command {name!r}.\n{_describe([tool for tool in tools if tool.name != FREE])}"
        raise SandboxServerError(msg)
    if name != FREE:
        return arguments
    given = {key: value for key, value in arguments.items() if key != "files" or value}
    allowed = tool.input_schema.get("properties", {}).get("timeout", {}).get("maximum", timeout)
    return {**given, "timeout": min(timeout, allowed)} if timeout else given


def _describe(commands: list[Any]) -> str:
    if not commands:
        return f"The repository has no commands; use {FREE}."
    lines = [f"- {tool.name}: {tool.description}\n  arguments: {json.dumps(tool.input_schema)}" for tool in commands]
    return "\n".join(["Commands for run_command:", *lines])


async def _read(client: Any, result: Any, mime_type: str) -> str:  # noqa: ANN401 - as above
    """What the result links to and is of this type; nothing where there is none, or it is gone by now."""
    from mcp import MCPError  # noqa: PLC0415 - as above

    link = next((it for it in result.content if it.type == "resource_link" and it.mime_type == mime_type), None)
    if link is None:
        return ""
    try:
        read = await client.read_resource(str(link.uri))
    except MCPError:
        return ""  # the run's own words are worth more than an error
    text = "".join(getattr(part, "text", "") for part in read.contents)
    if len(text) <= MAX_SHOWN:
        return text
    return f"{text[:MAX_SHOWN]}\n[cut]" if mime_type == "text/x-diff" else ""


def _cite(diff: str, run_id: str) -> dict[str, Any]:
    """Open WebUI's event for a source. The fence is longer than any in the diff, which therefore cannot end it."""
    diff = _show(diff)
    fence = max(["``", *re.findall("`+", diff)], key=len) + "`"
    name = f"Changes of run {run_id[:8]}" if run_id else "Changes"
    return {
        "type": "source",
        "data": {
            "source": {"name": name},
            "document": [f"{fence}diff\n{diff.rstrip()}\n{fence}"],
            "metadata": [{"source": name}],
        },
    }


def _show(diff: str) -> str:
    """A diff with escapes for what nobody sees, or what turns a line around: it may be there to deceive."""
    return "".join(it if it.isprintable() or it in "\n\r\t" else f"\\u{ord(it):04x}" for it in diff)


def _text_of(result: Any) -> str:  # noqa: ANN401 - as above
    text = "\n".join(item.text for item in result.content if item.type == "text")
    return f"Error: {text}" if result.is_error else text  # Open WebUI knows a failed call by this word


def _sum_up(result: Any) -> str:  # noqa: ANN401 - as above
    """How a run ended, for the user."""
    facts = result.structured_content or {}
    if not facts.get("status"):
        return "Failed" if result.is_error else "Done"
    changed = len(facts.get("files") or [])
    parts = [str(facts["status"]), {0: "nothing changed", 1: "1 file changed"}.get(changed, f"{changed} files changed")]
    seconds = (facts.get("timings") or {}).get("total")
    if isinstance(seconds, (int, float)):
        parts.append(f"{seconds:.0f} s")
    if facts.get("applied"):
        parts.append("applied")
    return " · ".join(parts)


def _leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group of errors."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _explain(url: str, errors: list[BaseException], statuses: list[int], *, has_token: bool) -> str:
    """What went wrong with the server, and what to do about it."""
    names = {type(error).__name__ for error in errors}
    refused = {
        401: f"The sandbox server at {url} "
        + ("does not know this token" if has_token else "wants a token")
        + ": an administrator puts the server's into the tool's valve `token`.",
        403: f"The sandbox server at {url} does not let this address in.",
        404: f"There is no sandbox server at {url}; does the address end in /mcp?",
        421: f"The sandbox server at {url} does not go by this name.",
    }
    status = statuses[-1] if statuses else 0
    if status in refused:
        return refused[status]
    if names & {"ConnectError", "ConnectTimeout"}:
        return (
            f"The sandbox server at {url} cannot be reached. Is `langchain-sandbox mcp --http` running there? In a "
            "container, 127.0.0.1 is the container itself; its host is http://host.docker.internal:8765/mcp."
        )
    words = "; ".join(str(error) or type(error).__name__ for error in errors)
    return f"The sandbox server at {url} did not answer as it should: {words}"
