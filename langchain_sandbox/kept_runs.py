"""The runs that are kept on this machine, by their names: what a run was asked, how it ended, what it changed."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.events import build_event
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.run_folder import RunFolder, state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_sandbox.events import SandboxEvent

LATEST = "last"
"""Stands for the run that was heard of last."""
_PREFIX = re.compile(r"[0-9a-f]{4,12}")
_LISTED = 5


@dataclass(frozen=True)
class KeptRun:
    """One run, over or under way.

    Args:
        run_id: Its name.
        folder: What is kept of it.
        at: When it ended, or was last heard of; seconds since 1970.
    """

    run_id: str
    folder: RunFolder
    at: float

    @property
    def over(self) -> bool:
        """Whether there is a result."""
        return self.folder.result.is_file()

    @property
    def under_way(self) -> bool:
        """Whether a living process works on it. A run that is neither over nor under way was killed."""
        return self.folder.owned

    @cached_property
    def _fields(self) -> dict[str, Any]:
        """What the result says, as it was written.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is no result.
        """
        try:
            fields = json.loads(self.folder.result.read_text(encoding="ascii"))
        except RecursionError as error:
            msg = "it is nested too deep"
            raise ValueError(msg) from error
        if not isinstance(fields, dict):
            msg = "it is not a JSON object"
            raise ValueError(msg)  # noqa: TRY004 - as for everything else that is no result
        return fields

    @property
    def status(self) -> str | None:
        """How it ended; `None` while it is under way, and if its process was killed."""
        with suppress(OSError, ValueError, KeyError):
            return str(self._fields["status"])
        return None

    def result(self) -> SandboxResult:
        """Its result.

        Raises:
            SandboxConfigError: If there is none, or none that this version can read.
        """
        try:
            return SandboxResult.model_validate(self._fields)
        except FileNotFoundError as error:
            why = "it is under way" if self.under_way else "its process was killed"
            msg = f"The run {self.run_id} has no result: {why}."
            raise SandboxConfigError(msg) from error
        except (OSError, ValueError, ValidationError) as error:
            msg = f"The result of run {self.run_id} cannot be read: {error}"
            raise SandboxConfigError(msg) from error

    def events(self) -> Iterator[SandboxEvent]:
        """Its events until now, as far as they are kept; a line that cannot be read is passed over."""
        try:
            file = self.folder.events.open(encoding="ascii", errors="replace")
        except OSError:
            return
        with file:
            for line in file:
                event = _read_event(line)
                if event is not None:
                    yield event

    def patch_text(self) -> str:
        """All of its patch, however long; empty if nothing was changed.

        Raises:
            SandboxConfigError: If it cannot be read any more.
        """
        result = self.result()
        if result.patch is not None:
            return result.patch
        try:
            return self.folder.patch.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            msg = f"The patch of run {self.run_id} cannot be read: {error.strerror}."
            raise SandboxConfigError(msg) from error


def list_runs() -> list[KeptRun]:
    """All runs that are kept, the latest first."""
    found = []
    with suppress(OSError):
        for entry in os.scandir(state_folder() / "runs"):
            with suppress(SandboxConfigError, OSError):
                folder = RunFolder.of(entry.name)
                found.append(KeptRun(entry.name, folder, _touched(folder)))
    return sorted(found, key=lambda run: (-run.at, run.run_id))


def find_run(name: str) -> KeptRun:
    """A run by its name.

    Args:
        name: All of it, four or more of its first digits where no other run has the same, or `last`.

    Raises:
        SandboxConfigError: If there is no such run, or more than one.
    """
    runs = list_runs()
    if not runs:
        msg = f"No run is kept in {state_folder() / 'runs'}. SANDBOX_STATE_DIR says where runs are kept."
        raise SandboxConfigError(msg)
    if name == LATEST:
        return runs[0]
    matching = [run for run in runs if run.run_id.startswith(name)] if _PREFIX.fullmatch(name) else []
    if len(matching) == 1:
        return matching[0]
    known = ", ".join(run.run_id for run in (matching or runs)[:_LISTED])
    if matching:
        msg = f"{name} is the beginning of more than one run: {known}. Give more digits."
    else:
        msg = f"There is no run {name[:50]!r}. Name one, four or more of its first digits, or {LATEST}: {known}."
    raise SandboxConfigError(msg)


def _read_event(line: str) -> SandboxEvent | None:
    try:
        fields = json.loads(line)
        return build_event(fields.pop("type"), **fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _touched(folder: RunFolder) -> float:
    """When a run ended, or when something was last written down of one that has not. Applying it later is no part."""
    return (folder.result if folder.result.is_file() else folder.path).stat().st_mtime
