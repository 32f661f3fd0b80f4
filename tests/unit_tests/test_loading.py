"""What a run gets to know of its workspace while that is still being read, or when it cannot go in."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from langchain_sandbox import loading as module
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.loading import INSTRUCTIONS, Loading
from langchain_sandbox.workspace.inbound.repository import Repository
from langchain_sandbox.workspace.inbound.selection import Selection

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(20)
FOLDER = "packages/a/"


class Reading:
    """A workspace that is read as far as it is let."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.let_select, self.let_end = threading.Event(), threading.Event()
        self.error: SandboxConfigError | None = None

    def load(self, *_: object, on_found: Any, on_selected: Any, **__: object) -> Any:
        selection = Selection(self.root, repository=Repository(self.root, FOLDER, None))
        on_found(selection)
        self.let_select.wait()
        if self.error is not None:
            raise self.error
        if (self.root / INSTRUCTIONS).exists():
            selection.files[INSTRUCTIONS] = (self.root / INSTRUCTIONS).stat()
        on_selected(selection)
        self.let_end.wait()
        return SimpleNamespace(close=lambda: None)

    def begin(self) -> Loading:
        prompt = SimpleNamespace(command=None)
        request: Any = SimpleNamespace(workspace=None, limits=None, run_id="r", revision=None, prompt=prompt)
        engine: Any = SimpleNamespace(private_places=[], shares_files=True)
        return Loading(request, engine, cancelled=anyio.Event())


@pytest.fixture
def reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reading:
    found = Reading(tmp_path)
    monkeypatch.setattr(module, "load", found.load)
    return found


async def test_folder_and_missing_instructions_are_known_at_once(reading: Reading) -> None:
    loading = reading.begin()
    assert await loading.folder() == FOLDER
    assert await loading.instructions() == ""
    assert not reading.let_select.is_set()
    reading.let_select.set()
    await loading.selected()
    reading.let_end.set()
    await loading.aclose()


async def test_instructions_that_are_there_wait_until_it_is_known_whether_they_go_in(reading: Reading) -> None:
    (reading.root / INSTRUCTIONS).write_text("Be kind.")
    loading = reading.begin()
    asking = asyncio.ensure_future(loading.instructions())
    await loading.folder()
    await asyncio.sleep(0.05)
    assert not asking.done()
    reading.let_select.set()
    assert await asking == "Be kind."
    reading.let_end.set()
    await loading.aclose()


async def test_what_cannot_go_in_is_said_to_whoever_asks_for_more_than_the_folder(reading: Reading) -> None:
    reading.error = SandboxConfigError("too big")
    reading.let_select.set()
    loading = reading.begin()
    for asked in (loading.selected(), loading.result()):
        with pytest.raises(SandboxConfigError, match="too big"):
            await asked
    assert await loading.folder() == FOLDER
    await loading.aclose()
