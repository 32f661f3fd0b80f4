"""A server that stops waits for the answers that are on their way, and for nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from langchain_sandbox.integrations.mcp.open_requests import OpenRequests


async def nothing(*_: Any) -> Any:
    return None


def request(method: str) -> dict[str, Any]:
    return {"type": "http", "method": method}


class App:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, *_: Any) -> None:
        self.began.set()
        await self.go_on.wait()
        if self.error:
            raise self.error


async def test_an_answer_is_waited_for_until_it_is_sent() -> None:
    app = App()
    requests = OpenRequests(app)
    assert await requests.wait(0)
    first = asyncio.create_task(requests(request("POST"), nothing, nothing))
    second = asyncio.create_task(requests(request("POST"), nothing, nothing))
    await app.began.wait()
    assert not await requests.wait(0)
    waiting = asyncio.create_task(requests.wait(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    app.go_on.set()
    await asyncio.gather(first, second)
    assert await waiting


async def test_a_stream_that_stands_open_is_not_waited_for() -> None:
    app = App()
    requests = OpenRequests(app)
    standing = asyncio.create_task(requests(request("GET"), nothing, nothing))
    await app.began.wait()
    assert await requests.wait(0)
    app.go_on.set()
    await standing


async def test_a_request_that_fails_or_is_cut_off_is_over() -> None:
    app = App()
    requests = OpenRequests(app)
    app.error = ValueError("broken")
    failing = asyncio.create_task(requests(request("POST"), nothing, nothing))
    cut = asyncio.create_task(requests(request("POST"), nothing, nothing))
    await app.began.wait()
    cut.cancel()
    app.go_on.set()
    with pytest.raises(ValueError, match="broken"):
        await failing
    await asyncio.wait({cut})
    assert await requests.wait(60)
