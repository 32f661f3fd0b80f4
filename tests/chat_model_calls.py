"""Calls of a chat model as the gateway makes them, for the tests of both kinds, and who takes the answers."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel

from langchain_sandbox.chat_model.caller import ChatModelCaller
from langchain_sandbox.config import Limits
from langchain_sandbox.gateway.call import ModelCall

TOOL = {"type": "function", "function": {"name": "bash", "description": "", "parameters": {"type": "object"}}}
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "Fix it."}], "tools": [TOOL], "stream": True}


@dataclass
class Taken:
    """A sink that keeps what it gets."""

    status: int | None = None
    content_type: str = ""
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    pieces: int = 0

    def begin(self, status: int, content_type: str) -> None:
        assert self.status is None
        self.status, self.content_type = status, content_type

    async def write(self, data: bytes) -> None:
        self.data += data
        self.pieces += 1

    def end(self) -> None:
        self.ended = True

    @property
    def text(self) -> str:
        events = [
            line.removeprefix("data: ") for line in self.data.decode().split("\n\n") if line.startswith("data: {")
        ]
        return "".join(
            choice["delta"].get("content", "") for event in events for choice in json.loads(event)["choices"]
        )


@dataclass
class Asked:
    """A call that was made."""

    sink: Taken
    call: ModelCall


def new_call() -> ModelCall:
    return ModelCall(index=0, started=time.monotonic())


async def ask(model: BaseChatModel, body: dict[str, Any] | None = None, *, limits: Limits | None = None) -> Asked:
    asked = Asked(Taken(), new_call())
    await ChatModelCaller(model, limits or Limits()).call(body or ASKED, asked.call, asked.sink)
    return asked
