"""Everything that the harness needs of the package's own host side.

Only this file knows how a workspace is read and sent, and how changes become a patch that is applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from langchain_sandbox.config import Limits
from langchain_sandbox.dialogue import Dialogue
from langchain_sandbox.report import Report
from langchain_sandbox.workspace.applying.apply import apply_changes
from langchain_sandbox.workspace.carriage import Copy
from langchain_sandbox.workspace.content import Content, pieces
from langchain_sandbox.workspace.inbound.intake import Intake, take_intake
from langchain_sandbox.workspace.outbound.patch import build_patch
from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver
from langchain_sandbox.workspace_config import ApplyPolicy, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.engine.connection import Connection
    from langchain_sandbox.link import Data


@dataclass(frozen=True, slots=True)
class Parcel:
    """A workspace as it was read, ready to be sent."""

    limits: Limits
    intake: Intake

    def close(self) -> None:
        """Let its files go."""
        self.intake.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came back.

    Args:
        patch: The patch.
        paths: The paths that it changes, as the result would name them.
        skipped: What stayed behind, and why.
    """

    patch: Content
    paths: list[str]
    skipped: list[str]

    @property
    def text(self) -> str:
        """The patch, all of it."""
        return b"".join(pieces(self.patch)).decode()


def pack(root: Path, limits: Limits) -> Parcel:
    """Read a workspace."""
    return Parcel(limits, take_intake(Workspace(root), limits))


async def send(connection: Connection, parcel: Parcel) -> None:
    """Send a workspace as a run does; begins with the message `workspace`."""
    dialogue = Dialogue(report=Report(began=0.0), emit=_ignore, on_working=_ignore)
    dialogue._link = connection

    async def load() -> Copy:
        return Copy(parcel.intake)

    dialogue._assignment = SimpleNamespace(mounted=False, workspace=load)
    await dialogue._send_workspace()


def open_receiver(parcel: Parcel, acknowledge: Callable[[Data], None]) -> ChangesReceiver:
    """What takes the changes in; its `on_event`, `serve` and `close` are the harness's to call."""
    return ChangesReceiver(parcel.limits, acknowledge=acknowledge)


def settle(parcel: Parcel, receiver: ChangesReceiver, summary: dict[str, Any]) -> Outcome:
    """Make a patch of what came in."""
    changes = receiver.settle(parcel.intake.snapshot)
    patch = build_patch(parcel.intake.snapshot, changes)
    left = [f"{item['path']!r}: {item['reason']}" for item in summary["skipped"]]
    return Outcome(patch=patch.content, paths=[file.path for file in patch.files], skipped=[*left, *receiver.skipped])


def apply(root: Path, outcome: Outcome) -> list[str]:
    """Apply a patch to a tree like the one that was packed, and return the paths that it changed."""
    policy = ApplyPolicy(moved="refuse", risky="allow")
    return apply_changes(root, outcome.patch, find_base=lambda _blob: None, policy=policy).paths


def _ignore(*_: object, **__: object) -> None:
    """There is no run that could be told."""
