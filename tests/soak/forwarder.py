"""Stands between a process and the engine, and does to what passes what a bad network does."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from typing import Self

from langchain_sandbox.engine.address import find_engine

_PIECE = 65536
_SLOW = 0.05  # seconds
_DAMAGED = 64  # bytes


class Forwarder:
    """A TCP port on loopback in front of the engine's unix socket."""

    def __init__(self) -> None:
        self._path = find_engine().socket
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._mode = ""
        self._server: asyncio.Server
        self._thread = threading.Thread(target=self._loop.run_forever, name="forwarder")
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        self.url = f"tcp://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._leave())
        self._loop.close()

    def cut(self) -> None:
        """Close all connections, and take no more."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def damage_output(self) -> None:
        """Have the next piece that comes from the engine be another."""
        self._mode = "output"

    def damage_input(self) -> None:
        """Have the next piece that goes to the engine be another."""
        self._mode = "input"

    def slow_down(self) -> None:
        """Have each piece take its time."""
        self._mode = "slow"

    async def _open(self) -> int:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(self._path)
        self._writers |= {writer, engine_writer}
        with suppress(OSError):
            await asyncio.gather(
                self._pump(reader, engine_writer, coming=False),
                self._pump(engine_reader, writer, coming=True),
                return_exceptions=True,
            )
        for each in (writer, engine_writer):
            self._writers.discard(each)
            each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, coming: bool) -> None:
        while data := await reader.read(_PIECE):
            if self._mode == "slow":
                await asyncio.sleep(_SLOW)
            elif self._mode == ("output" if coming else "input"):
                self._mode = ""
                data = os.urandom(min(_DAMAGED, len(data))) + data[_DAMAGED:]
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    async def _cut(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _leave(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
