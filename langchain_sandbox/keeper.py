"""Keeps one run in its folder. What cannot be kept is a warning and never the end of a run."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_sandbox.run_folder import EventFile, RunFolder, sweep_runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langchain_sandbox.workspace_config import Retention

logger = logging.getLogger(__name__)


class Keeper:
    """All but `put` blocks for as long as the disk does.

    Args:
        run_id: The run's name.
        retention: How much is kept.
        warn: Called with what a user should know.
    """

    def __init__(self, run_id: str, retention: Retention, *, warn: Callable[[str], None]) -> None:
        self._run_id = run_id
        self._retention = retention
        self._warn = warn
        self._events = EventFile(RunFolder.of(run_id)) if retention.keeps else None
        self._made: RunFolder | None = None
        self.folder: RunFolder | None = None
        """The run's folder; `None` where nothing is kept."""

    def open(self) -> None:
        """Make the folder."""
        if not self._retention.keeps:
            return
        folder = RunFolder.of(self._run_id)
        try:
            folder.make()
        except OSError as error:
            self._events = None
            self._warn(f"Nothing of the run is kept, since {folder.path} cannot be made: {error.strerror}.")
            return
        self.folder = self._made = folder

    def put(self, event: dict[str, Any]) -> None:
        """Take an event, to be written by the next `flush` that there is a folder for."""
        if self._events is not None:
            self._events.put(event)

    def flush(self) -> None:
        """Write the events that have come."""
        if self._events is not None and self._made is not None:
            try:
                self._events.flush()
            except OSError as error:
                logger.warning("[%s] events are not kept: %s", self._run_id, error)

    def keep(self, write: Callable[[RunFolder], None]) -> bool:
        """Write something into the folder, and say whether it is there.

        Args:
            write: Writes it; may raise `OSError`, after which nothing more is kept.
        """
        if self.folder is None:
            return False
        try:
            write(self.folder)
        except OSError as error:
            self._warn(f"Not all of the run could be kept in {self.folder.path}: {error.strerror}.")
            self.folder = None
            return False
        return True

    @property
    def patch(self) -> Path | None:
        """Where the patch is."""
        return self.folder.patch if self.folder is not None else None

    def close(self, fields: dict[str, Any]) -> None:
        """Keep the result, and make room for other runs.

        Args:
            fields: The result's.
        """
        self.flush()
        if self.folder is None:
            return
        try:
            self.folder.finish(fields)
            sweep_runs(self._retention, latest=self._run_id)
        except OSError as error:
            logger.warning("[%s] the result is not kept: %s", self._run_id, error)

    def leave(self) -> None:
        """Let go of a run's folder that has no result, because the run could not go on; nothing if it was closed."""
        self.flush()
        if self._made is not None:
            with suppress(OSError):
                self._made.leave()
