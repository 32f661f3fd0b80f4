"""What is kept of runs: under checked names, no more than is wanted, and nothing away under a run that still works."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from langchain_sandbox import run_folder
from langchain_sandbox.engine.owner import current_owner
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.run_folder import EventFile, RunFolder, state_folder, sweep_runs
from langchain_sandbox.workspace_config import Retention

RUN = "0123456789ab"
NONE = "ffffffffffff"


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))


def make(run: str, *, age: float = 0, size: int = 0) -> RunFolder:
    """A run that is over, so many days ago."""
    folder = RunFolder.of(run)
    folder.make()
    folder.patch.write_bytes(bytes(size))
    folder.finish({"run_id": run})
    then = time.time() - age * 86_400
    os.utime(folder.path, (then, then))
    return folder


def kept() -> set[str]:
    return {path.name for path in (state_folder() / "runs").iterdir()}


def name(number: int) -> str:
    return f"{number:012x}"


@pytest.mark.parametrize(
    "run",
    ["", "r", "0123456789AB", "0123456789ab\n", "../456789abcd", "0123456789abc", "0123456789a/", "\uff10123456789ab"],
)
def test_what_is_no_runs_name_leads_to_no_folder(run: str) -> None:
    with pytest.raises(SandboxConfigError, match="not the name of a run"):
        RunFolder.of(run)


def test_the_state_folder_is_the_users_unless_another_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert RunFolder.of(RUN).path == tmp_path / "state/runs" / RUN
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SANDBOX_STATE_DIR", "~/other")
    assert state_folder() == tmp_path / "other"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SANDBOX_STATE_DIR", "here")
    assert state_folder() == tmp_path / "here"
    monkeypatch.delenv("SANDBOX_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_folder() == tmp_path / "xdg/langchain-sandbox"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert state_folder() == tmp_path / ".local/state/langchain-sandbox"


def test_a_folder_is_its_users_alone_and_its_process_s_until_it_is_finished() -> None:
    folder = RunFolder.of(RUN)
    folder.make()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert (folder.path / ".owner").read_text() == current_owner()
    folder.finish({"run_id": RUN, "text": "é\ud800"})
    assert [path.name for path in folder.path.iterdir()] == ["result.json"]
    assert json.loads((folder.path / "result.json").read_text()) == {"run_id": RUN, "text": "é\ud800"}


def test_only_so_many_runs_are_kept_and_the_oldest_go() -> None:
    for number in range(5):
        make(name(number), age=number)
    assert sorted(sweep_runs(Retention(runs=3), latest=NONE)) == [name(3), name(4)]
    assert kept() == {name(0), name(1), name(2)}
    assert sweep_runs(Retention(runs=3), latest=NONE) == []


def test_runs_are_kept_for_so_many_days() -> None:
    for number in range(5):
        make(name(number), age=number + 0.5)
    sweep_runs(Retention(days=3), latest=NONE)
    assert kept() == {name(0), name(1), name(2)}
    sweep_runs(Retention(days=0.6), latest=NONE)
    assert kept() == {name(0)}


def test_runs_are_kept_as_long_as_all_of_them_have_room() -> None:
    for number in range(5):
        folder = make(name(number), age=number, size=900)
        (folder.path / "base").mkdir()
        (folder.path / "base/x").write_bytes(bytes(50))
        os.utime(folder.path, (time.time() - number * 86_400,) * 2)
    sweep_runs(Retention(size=3000), latest=NONE)
    assert kept() == {name(0), name(1), name(2)}


@pytest.mark.parametrize("retention", [Retention(size=100), Retention(runs=1), Retention(days=0.001)])
def test_the_run_that_has_just_ended_stays_for_its_result_refers_to_it(retention: Retention) -> None:
    make(RUN, age=1, size=5000)
    make(name(1), age=0.5, size=50)
    assert sweep_runs(retention, latest=RUN) == [name(1)]
    assert kept() == {RUN}


def test_a_living_process_s_run_stays_and_a_dead_one_s_goes() -> None:
    for number in (1, 2, 3):
        make(name(number), age=100)
    (RunFolder.of(name(1)).path / ".owner").write_text(current_owner())
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from langchain_sandbox.engine.owner import current_owner; print(current_owner(), end='')"
    )
    dead = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    (RunFolder.of(name(2)).path / ".owner").write_text(dead)
    for number in (1, 2):
        os.utime(RunFolder.of(name(number)).path, (1, 1))
    assert sorted(sweep_runs(Retention(days=1, runs=1), latest=NONE)) == [name(2), name(3)]
    assert kept() == {name(1)}


def test_what_is_no_runs_folder_is_left_alone(tmp_path: Path) -> None:
    assert sweep_runs(Retention(runs=0), latest=NONE) == []  # there is no state folder yet
    make(RUN, age=100)
    for other in ("notes", "0123456789abcdef", ".hidden"):
        (tmp_path / "state/runs" / other).mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_text("")
    (tmp_path / "state/runs/000000000000").symlink_to(tmp_path / "outside")
    sweep_runs(Retention(runs=0), latest=NONE)
    assert kept() == {"notes", "0123456789abcdef", ".hidden", "000000000000"}
    assert (tmp_path / "outside/kept").exists()


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "run_id": RUN, "at": 1.0, "text": words}


def read_events(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.events.read_text(encoding="ascii").splitlines()]


@pytest.fixture
def folder() -> RunFolder:
    folder = RunFolder.of(RUN)
    folder.make()
    return folder


def test_events_are_one_a_line_and_texts_that_follow_each_other_one_event(folder: RunFolder) -> None:
    events = EventFile(folder)
    events.flush()
    assert not folder.events.exists()
    for event in (text("I "), text("look\n"), {"type": "step", "index": 0}, text("é\ud800")):
        events.put(event)
    events.flush()
    events.put(text(" on"))
    events.flush()
    assert read_events(folder) == [text("I look\n"), {"type": "step", "index": 0}, text("é\ud800"), text(" on")]


def test_events_are_bounded(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "_MAX_EVENTS", 1000)
    events = EventFile(folder)
    for number in range(100):
        events.put({"type": "step", "index": number})
        events.flush()
    events.put(text("x" * 2000))
    events.flush()
    assert folder.events.stat().st_size <= 1000
    assert [event["index"] for event in read_events(folder)] == list(range(len(read_events(folder))))


def test_no_event_is_lost_between_the_thread_that_puts_and_the_one_that_writes(folder: RunFolder) -> None:
    events, over = EventFile(folder), threading.Event()

    def write() -> None:
        while not over.is_set():
            events.flush()

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(5000):
        events.put(text("x"))
    over.set()
    writer.join()
    events.flush()
    assert sum(len(event["text"]) for event in read_events(folder)) == 5000
