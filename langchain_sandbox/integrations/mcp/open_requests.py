"""The requests that are being answered, so that a server which stops can let the answers out first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_sandbox.integrations.mcp.guard import App, Receive, Scope, Send


class OpenRequests:
    """Counts the requests that an ASGI application is answering.

    Only those count that have a body: a client's standing GET stream is open for as long as the client is.

    Args:
        app: The application.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the application answer one request; it counts until all of the answer is sent, or nobody wants it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        self._count += 1
        self._none.clear()
        try:
            await self._app(scope, receive, send)
        finally:
            self._count -= 1
            if self._count == 0:
                self._none.set()

    async def wait(self, limit: float) -> bool:
        """Wait until all have been answered.

        Args:
            limit: Seconds to wait at most.

        Returns:
            Whether they have.
        """
        try:
            async with asyncio.timeout(limit):
                await self._none.wait()
        except TimeoutError:
            return False
        return True
