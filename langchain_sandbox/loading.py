"""A run's workspace while it is being read: what is known of it before all is, and what it is in the end."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from langchain_sandbox.engine.scratch import NO_ROOM
from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError
from langchain_sandbox.report import REPOSITORY
from langchain_sandbox.run_folder import state_folder
from langchain_sandbox.workspace.carriage import Carriage, Copy, load
from langchain_sandbox.workspace.inbound.intake import take_intake

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_sandbox.engine.base import Engine
    from langchain_sandbox.request import RunRequest
    from langchain_sandbox.workspace.following import Following
    from langchain_sandbox.workspace.inbound.selection import Selection

INSTRUCTIONS = "AGENTS.md"
"""What OpenCode reads of a workspace before it asks the model."""
_MAX_INSTRUCTIONS = 128 * 1024


class Loading:
    """A workspace that is being read, from now on.

    Args:
        request: What the run was asked for.
        engine: Where the container will be.
        cancelled: Set when the run is cancelled: whoever cancels need not wait until it is read.
        following: The workspace of the session that the run belongs to.
    """

    def __init__(
        self, request: RunRequest, engine: Engine, *, cancelled: anyio.Event, following: Following | None = None
    ) -> None:
        self._request = request
        self._engine = engine
        self._cancelled = cancelled
        self._following = following
        self._loop = asyncio.get_running_loop()
        self._found: asyncio.Future[Selection | None] = self._loop.create_future()
        self._selected: asyncio.Future[Selection | None] = self._loop.create_future()
        self._reading = asyncio.ensure_future(anyio.to_thread.run_sync(self._load))
        self._reading.add_done_callback(self._on_read)
        self._empty: Carriage | None = None

    async def result(self) -> Carriage:
        """The workspace; an empty one if the run was cancelled before it was read.

        Raises:
            SandboxConfigError: If it cannot go in; the message says why.
            SandboxUnavailableError: If there is no room for the copy.
        """
        if self._empty is not None:
            return self._empty
        leaving = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({self._reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        if not self._reading.done():
            self._empty = Copy(take_intake(None, self._request.limits))
            return self._empty
        return self._reading.result()

    async def folder(self) -> str:
        """Where the files belong in the repository; known before it is known which ones go in.

        Raises:
            SandboxConfigError: If they cannot be found.
        """
        selection = await self._wait(self._found)
        return selection.folder if selection is not None else ""

    async def selected(self) -> None:
        """Wait until it is known which files go in.

        Raises:
            SandboxConfigError: If they cannot go in.
        """
        await self._wait(self._selected)

    async def instructions(self) -> str | None:
        """What AGENTS.md says, empty for none; `None` if that cannot be told before all is read."""
        found = await self._wait(self._found)
        if found is None:
            return ""
        if self._request.revision is not None or self._request.prompt.command is not None:
            return None  # what was changed before, or what a command names, may be needed at once
        if await anyio.to_thread.run_sync(_has_none, found.root):
            return ""
        selection = await self._wait(self._selected)
        if selection is None:
            return ""
        return await anyio.to_thread.run_sync(read_instructions, selection)

    async def aclose(self) -> None:
        """Let go of it, as soon as it is read."""
        if self._empty is not None:
            self._empty.close()
        if not self._reading.done():
            self._reading.add_done_callback(_close_late)
        elif self._reading.exception() is None:
            await anyio.to_thread.run_sync(self._reading.result().close)

    async def _wait(self, step: asyncio.Future[Selection | None]) -> Selection | None:
        """Wait until reading has come to a step; `None` if the run was cancelled before, or nothing is read."""
        if not step.done():
            leaving = asyncio.ensure_future(self._cancelled.wait())
            either: set[asyncio.Future[Any]] = {step, self._reading, leaving}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
        if not step.done() and not self._reading.done():
            return None  # cancelled
        if not step.done():
            self._reading.result()  # it raises, since it did not get there
        return await step

    def _load(self) -> Carriage:
        try:
            return self._read()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            msg = (
                f"The workspace cannot be copied: {tempfile.gettempdir()} has no room for it ({error.strerror}). Make "
                "some there, or have TMPDIR name a folder that has more."
            )
            raise SandboxUnavailableError(msg) from error

    def _read(self) -> Carriage:
        request = self._request
        if self._following is not None:
            return self._following.load(on_found=self._on_found, on_selected=self._on_selected)
        private = [state_folder(), *self._engine.private_places]
        if request.workspace is not None and request.workspace.mode == "bind" and not self._engine.shares_files:
            msg = 'The engine is on another machine, which does not have the workspace; use Workspace(mode="copy").'
            raise SandboxConfigError(msg)
        return load(
            request.workspace,
            request.limits,
            run_id=request.run_id,
            target=REPOSITORY,
            private=private,
            revises=request.revision.result if request.revision else None,
            on_found=self._on_found,
            on_selected=self._on_selected,
        )

    def _on_found(self, selection: Selection) -> None:
        """Called in the thread that reads."""
        self._loop.call_soon_threadsafe(_get_to, self._found, selection)

    def _on_selected(self, selection: Selection) -> None:
        """Called in the thread that reads."""
        self._loop.call_soon_threadsafe(_get_to, self._selected, selection)

    def _on_read(self, reading: asyncio.Future[Carriage]) -> None:
        # Where the run fails for another reason, nobody else asks for the exception.
        if not reading.cancelled() and reading.exception() is None:
            for step in (self._found, self._selected):
                _get_to(step, None)


def _get_to(step: asyncio.Future[Selection | None], selection: Selection | None) -> None:
    if not step.done():
        step.set_result(selection)


def _has_none(root: Path) -> bool:
    """Whether there are no instructions that could go in."""
    return not os.path.lexists(root / INSTRUCTIONS)


def read_instructions(selection: Selection) -> str | None:
    """What the AGENTS.md says that goes in; empty if none does, `None` if it is no plain, short text.

    Args:
        selection: What goes in.
    """
    status = selection.files.get(INSTRUCTIONS)
    if status is None:
        return ""
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_INSTRUCTIONS:
        return None
    try:
        descriptor = os.open(selection.root / INSTRUCTIONS, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
            return file.read(_MAX_INSTRUCTIONS).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _close_late(reading: asyncio.Future[Carriage]) -> None:
    """Let go of a workspace that nobody waited for."""
    if not reading.cancelled() and reading.exception() is None:
        threading.Thread(target=reading.result().close, name="langchain-sandbox-close").start()
