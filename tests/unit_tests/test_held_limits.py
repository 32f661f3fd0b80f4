"""Whether an engine holds containers to their limits: what is made of what a trial found, and for how long."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from langchain_sandbox import Limits, ModelEndpoint, Sandbox, SandboxUnavailableError, held_limits
from langchain_sandbox.engine.trial import find_ignored
from langchain_sandbox.held_limits import REMEMBERED, require_limits

if TYPE_CHECKING:
    from pathlib import Path

HELD = {"processes": 128, "memory_held": True, "exit_code": 0, "oom": False}
IGNORED = {"processes": 257, "memory_held": False, "exit_code": 0, "oom": False}


class Engine:
    """Says who it is; whatever is tried on it comes out as it was told."""

    def __init__(self, told: dict[str, object], name: str = "one") -> None:
        self.told = told
        self.name = name
        self.tried = 0
        self.runtimes: list[str | None] = []

    async def identify(self) -> str:
        return self.name


@pytest.fixture(autouse=True)
def trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def try_walls(engine: Engine, _image: str, *, runtime: str | None) -> dict[str, object]:
        engine.tried += 1
        engine.runtimes.append(runtime)
        if not engine.told:
            raise TimeoutError
        return engine.told

    monkeypatch.setattr(held_limits, "try_walls", try_walls)
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path))


async def test_an_engine_that_holds_them_is_tried_once(tmp_path: Path) -> None:
    engine = Engine(HELD)
    for _ in range(3):
        assert await require_limits(engine, "image", ignored_allowed=False) is None
    assert engine.tried == 1
    (remembered,) = (tmp_path / "engines").iterdir()
    assert remembered.read_text() == "[]"


async def test_one_that_ignores_them_is_refused_each_time_and_says_what_to_do() -> None:
    engine = Engine(IGNORED)
    for _ in range(2):
        with pytest.raises(SandboxUnavailableError, match="257 ran where 128 were allowed") as caught:
            await require_limits(engine, "image", ignored_allowed=False)
    assert "SANDBOX_ALLOW_IGNORED_LIMITS=1" in str(caught.value)
    assert "langchain-sandbox doctor" in str(caught.value)
    assert engine.tried == 1


async def test_who_takes_the_risk_is_told_of_it() -> None:
    warning = await require_limits(Engine(IGNORED), "image", ignored_allowed=True)
    assert warning is not None
    assert "One run could take the machine down." in warning


async def test_another_engine_and_a_week_later_are_tried_anew(tmp_path: Path) -> None:
    first, second = Engine(HELD), Engine(HELD, "two")
    for engine in (first, second):
        await require_limits(engine, "image", ignored_allowed=False)
    assert (first.tried, second.tried) == (1, 1)
    for path in (tmp_path / "engines").iterdir():
        long_ago = time.time() - REMEMBERED - 1
        os.utime(path, (long_ago, long_ago))
    await require_limits(first, "image", ignored_allowed=False)
    assert first.tried == 2


async def test_each_runtime_is_tried_by_itself() -> None:
    engine = Engine(HELD)
    for runtime in (None, "runsc", None, "runsc", "kata"):
        await require_limits(engine, "image", ignored_allowed=False, runtime=runtime)
    assert engine.runtimes == [None, "runsc", "kata"]


@pytest.mark.parametrize("told", [{}, {"exit_code": 127, "oom": False}])
async def test_what_cannot_be_told_is_neither_refused_nor_remembered(tmp_path: Path, told: dict[str, object]) -> None:
    engine = Engine(told)
    for _ in range(2):
        assert await require_limits(engine, "image", ignored_allowed=False) is None
    assert engine.tried == 2
    assert not (tmp_path / "engines").exists()


@pytest.mark.parametrize("content", ["", "{", "{}", "\xff"])
async def test_a_note_that_was_spoiled_is_not_believed(tmp_path: Path, content: str) -> None:
    engine = Engine(HELD)
    await require_limits(engine, "image", ignored_allowed=False)
    (remembered,) = (tmp_path / "engines").iterdir()
    remembered.write_text(content, encoding="latin-1")
    await require_limits(engine, "image", ignored_allowed=False)
    assert engine.tried == 2


async def test_where_nothing_can_be_written_it_is_tried_each_time(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("a file in the way")
    engine = Engine(HELD)
    for _ in range(2):
        assert await require_limits(engine, "image", ignored_allowed=False) is None
    assert engine.tried == 2


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (HELD, []),
        (HELD | {"processes": 129}, ["processes"]),
        (HELD | {"memory_held": False}, ["memory"]),
        (IGNORED, ["processes", "memory"]),
        ({"processes": 128, "exit_code": 137, "oom": False}, []),
        ({"processes": None, "exit_code": 137, "oom": True}, []),
        ({"processes": 128, "exit_code": 0, "oom": True}, []),
        ({"processes": 128, "exit_code": 1, "oom": False}, ["memory"]),
    ],
)
def test_which_limits_were_not_held(told: dict[str, object], words: list[str]) -> None:
    ignored = find_ignored(told)
    assert ignored is not None
    assert [each.split(" ")[0] for each in ignored] == words


@pytest.mark.parametrize(("value", "allowed"), [("1", True), ("yes", True), ("", False), ("0", False), ("no", False)])
def test_it_is_allowed_by_the_environment_or_in_python(
    monkeypatch: pytest.MonkeyPatch, value: str, *, allowed: bool
) -> None:
    monkeypatch.setenv("SANDBOX_ALLOW_IGNORED_LIMITS", value)
    model = ModelEndpoint("http://127.0.0.1:8000/v1")
    assert Sandbox(model=model, limits=Limits()).allow_ignored_limits is allowed
    assert not Sandbox(model=model, allow_ignored_limits=False).allow_ignored_limits
