"""A workspace put down as the program in the container does it, by that program's own code, in a temporary folder."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from langchain_sandbox.agent import arrival, children, departure, opencode, repository
from langchain_sandbox.config import Limits
from langchain_sandbox.link import Channel, Data, End, FileStream, LinkEvent, Message
from langchain_sandbox.workspace.inbound.intake import take_intake
from langchain_sandbox.workspace_config import Workspace


class Collector:
    """A wire that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[LinkEvent] = []

    def send_message(self, body: dict[str, Any], *, channel: Channel = Channel.CONTROL, stream: int = 0) -> None:
        self.said.append(Message(channel, stream, body))

    def send_data(self, payload: bytes, *, channel: Channel, stream: int) -> None:
        self.said.append(Data(channel, stream, payload))

    def send_end(self, *, channel: Channel, stream: int) -> None:
        self.said.append(End(channel, stream))

    def acknowledge(self, data: Data) -> None:
        pass

    def take(self) -> list[LinkEvent]:
        """What was said since the last time."""
        said, self.said = self.said, []
        return said


@dataclass
class Copy:
    """What there is inside."""

    repository: Path
    arrival: arrival.Arrival
    warnings: list[str]
    git: dict[str, Any] | None
    wire: Collector = field(default_factory=Collector)

    @property
    def home(self) -> Path:
        """The home folder, which holds nothing of the user's."""
        return self.repository.parent / "home"

    @property
    def folder(self) -> Path:
        """The workspace."""
        return Path(self.arrival.folder)

    def leave(self, *, limit: int = 1_000_000) -> departure.Departure:
        return departure.Departure(self.wire, self.arrival, limit=limit)  # type: ignore[arg-type]


def stand_in(monkeypatch: pytest.MonkeyPatch, place: Path) -> Path:
    """Have the agent's code take a folder of ours for its own, and return where it has the repository."""
    where = place / "repo"
    for module in (opencode, arrival, repository, departure):
        monkeypatch.setattr(module, "REPOSITORY", str(where))
    monkeypatch.setattr(opencode, "HOME", str(place / "home"))

    def wait(child: subprocess.Popen[bytes], timeout: float | None = None) -> int | None:
        try:
            return child.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    monkeypatch.setattr(children, "wait", wait)  # its own needs to be the only one that reaps
    return where


def bring_in(
    workspace: Workspace | Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    limits: Limits | None = None,
) -> Copy:
    """Take a workspace and put it down.

    Args:
        workspace: What goes in.
        place: A folder that is not there; the copy is below.
        monkeypatch: For the agent's constants.
        limits: Those of the run.
    """
    where = stand_in(monkeypatch, place)
    if isinstance(workspace, Path):
        workspace = Workspace(workspace)
    intake = take_intake(workspace, limits or Limits())
    try:
        wire = Collector()
        coming = arrival.Arrival(wire, folder=str(where / intake.folder).rstrip("/"))  # type: ignore[arg-type]
        described = intake.history.describe() if intake.history else None
        coming.start({"git": described})
        intake.snapshot.archive.seek(0)
        pieces = [(FileStream.TAR, intake.snapshot.archive.read())]
        if intake.history is not None and intake.history.pack:
            for stream, ending in ((FileStream.PACK, "pack"), (FileStream.PACK_INDEX, "idx")):
                pieces.append((stream, (intake.history.folder / f"{intake.history.pack}.{ending}").read_bytes()))
        for stream, content in pieces:
            coming.on_event(Data(Channel.FILES, stream, content))
            coming.on_event(End(Channel.FILES, stream))
        coming.wait()
        return Copy(where, coming, intake.warnings, described, wire)
    finally:
        intake.close()
