"""A call of a model server takes its turn, keeps it for as long as it lasts, and no longer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from langchain_sandbox.config import Limits, ModelEndpoint
from langchain_sandbox.gateway.call import CallError, ModelCall
from langchain_sandbox.gateway.upstream import find_upstream
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}


class Taker:
    """Takes an answer, or nothing of it."""

    def __init__(self, *, takes: bool) -> None:
        self._takes = takes
        self.content = b""
        self.asked = asyncio.Event()

    def begin(self, status: int, content_type: str) -> None:
        assert (status, content_type.partition(";")[0]) == (200, "text/event-stream")

    async def write(self, data: bytes) -> None:
        self.asked.set()
        if not self._takes:
            await asyncio.Event().wait()
        self.content += data

    def end(self) -> None:
        pass


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(lambda _messages: {"text": "Hello."}) as model:
        yield model


async def ask(model: ScriptedModel, taker: Taker, **limits: Any) -> ModelCall:
    endpoint = ModelEndpoint(model.endpoint.base_url, max_concurrency=1)
    caller = (await find_upstream(endpoint, allow_remote=False)).open(Limits(**limits))
    call = ModelCall(index=0, started=time.monotonic())
    try:
        await caller.call(BODY, call, taker)
    finally:
        await caller.aclose()
    return call


async def test_who_comes_later_waits_and_that_is_told_and_is_no_silence_of_the_servers(model: ScriptedModel) -> None:
    silent, patient = Taker(takes=False), Taker(takes=True)
    first = asyncio.ensure_future(ask(model, silent))
    await silent.asked.wait()
    second = asyncio.ensure_future(ask(model, patient, first_byte=0.2))
    await asyncio.sleep(0.4)
    assert len(model.requests) == 1
    first.cancel()
    call = await second
    assert b"Hello." in patient.content
    assert call.waited > 0.2
    assert call.record().describe()["waited"] == round(call.waited, 4)


async def test_who_does_not_take_the_answer_loses_the_turn(model: ScriptedModel) -> None:
    with pytest.raises(CallError, match=r"did not take the model's answer for 0\.05 s") as raised:
        await ask(model, Taker(takes=False), idle=0.05)
    assert raised.value.code == "answer_not_taken"
    await ask(model, taker := Taker(takes=True))
    assert b"Hello." in taker.content
