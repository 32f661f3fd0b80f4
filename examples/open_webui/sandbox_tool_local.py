"""
title: Sandbox (local)
description: Hands coding tasks to OpenCode in an ephemeral container, on the engine beside this Open WebUI.
author: the langchain-opencode-sandbox maintainers
version: 1.0.0
license: MIT
required_open_webui_version: 0.12.4
"""  # noqa: D205, D212, D415 - Open WebUI reads these lines, and wants the quotes alone on theirs

import re
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel, Field

from langchain_sandbox import ModelEndpoint, Sandbox, SandboxError, describe_result
from langchain_sandbox.activity import Activity

Emit = Callable[[dict[str, Any]], Awaitable[Any]]


class Tools:
    """What a chat's model may call."""

    class Valves(BaseModel):
        """What an administrator sets; what is empty comes from Open WebUI's environment, as SANDBOX_*."""

        workspace: str = Field(default="", description="Folder of the repository.")
        model_url: str = Field(default="", description="OpenCode's model server, such as http://127.0.0.1:8000/v1.")
        timeout: int = Field(default=300, gt=0, description="Seconds that a run may take.")

    def __init__(self) -> None:
        self.valves = self.Valves()
        self.citation = False  # the diff is cited here; Open WebUI need not cite the tool's text as well

    async def run_in_sandbox(self, task: str, __event_emitter__: Emit | None = None) -> str:
        """Hand a coding task to an autonomous coding agent that works on a copy of the repository.

        It can read, edit and run programs, in an isolated container without network, and returns what it did. The
        user is shown the changes as a diff. One call is one complete task.

        :param task: What the agent should do, complete in itself: it sees the repository, not this conversation.
        """

        async def emit(kind: str, data: dict[str, Any]) -> None:
            if __event_emitter__:
                await __event_emitter__({"type": kind, "data": data})

        sandbox = Sandbox(
            model=ModelEndpoint(base_url=self.valves.model_url) if self.valves.model_url else None,
            workspace=self.valves.workspace or None,
        )
        activity, shown = Activity(), ""
        try:
            async with await sandbox.astart(task, timeout=self.valves.timeout) as handle:  # left early, it is cancelled
                async for event in handle.aevents():
                    activity.update(event)
                    if activity.now != shown:
                        shown = activity.now
                        await emit("status", {"description": shown, "done": event.type == "finished"})
                result = await handle.aresult()
        except SandboxError as error:
            await emit("status", {"description": str(error), "done": True})
            return f"Error: {error}"
        if result.patch:
            name = f"Changes of run {result.run_id[:8]}"
            # Escapes for what nobody sees, or what turns a line around: it may be there to deceive.
            diff = "".join(it if it.isprintable() or it in "\n\r\t" else f"\\u{ord(it):04x}" for it in result.patch)
            fence = max(["``", *re.findall("`+", diff)], key=len) + "`"  # no text of the patch can end it
            document = f"{fence}diff\n{diff.rstrip()}\n{fence}"
            await emit("source", {"source": {"name": name}, "document": [document], "metadata": [{"source": name}]})
        text = describe_result(
            result,
            apply=f"the user can apply them with `langchain-sandbox apply {result.run_id}`",
            whole=f"`langchain-sandbox show {result.run_id} --json` has all of it",
        )
        return text if result.ok else f"Error: {text}"  # Open WebUI knows a failed call by this word
