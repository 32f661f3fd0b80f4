"""What is kept of a run, also where the disk says no and where there is no result."""

import json
from pathlib import Path

import pytest

from langchain_sandbox.keeper import Keeper
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.workspace_config import Retention

RUN = "0123456789ab"
NEXT = "ba9876543210"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def open_keeper(run_id: str, retention: Retention, warnings: list[str]) -> Keeper:
    keeper = Keeper(run_id, retention, warn=warnings.append)
    keeper.open()
    return keeper


def test_events_and_the_result_are_there_afterwards_and_nobody_elses_to_read(state: Path) -> None:
    keeper = open_keeper(RUN, Retention(), [])
    keeper.put({"type": "text", "text": "a"})
    keeper.put({"type": "text", "text": "b \udce9"})
    keeper.close({"run_id": RUN})
    folder = state / "runs" / RUN
    assert json.loads((folder / "events.jsonl").read_text()) == {"type": "text", "text": "ab \udce9"}
    assert json.loads((folder / "result.json").read_text()) == {"run_id": RUN}
    assert folder.stat().st_mode & 0o077 == 0
    assert names(folder) == ["events.jsonl", "result.json"]


def test_nothing_is_kept_where_nothing_is_to_be(state: Path) -> None:
    keeper = open_keeper(RUN, Retention(runs=0), [])
    assert keeper.keep(lambda folder: folder.path.touch()) is False
    keeper.close({})
    assert not state.exists()


def test_a_state_folder_that_cannot_be_made_is_a_warning(state: Path) -> None:
    state.write_text("a file")
    warnings: list[str] = []
    keeper = open_keeper(RUN, Retention(), warnings)
    keeper.put({"type": "text", "text": "a"})
    keeper.close({})
    assert keeper.patch is None
    assert len(warnings) == 1


@pytest.mark.usefixtures("state")
def test_what_cannot_be_written_is_a_warning_and_the_patch_is_not_referred_to() -> None:
    def fail(_folder: RunFolder) -> None:
        raise OSError(28, "No space left on device")

    warnings: list[str] = []
    keeper = open_keeper(RUN, Retention(), warnings)
    assert keeper.keep(fail) is False
    assert "No space left" in warnings[0]
    assert keeper.patch is None
    keeper.leave()
    assert not (RunFolder.of(RUN).path / ".owner").exists()


def test_a_run_that_could_not_go_on_leaves_no_folder_that_stays_for_ever(state: Path) -> None:
    keeper = open_keeper(RUN, Retention(), [])
    keeper.put({"type": "text", "text": "a"})
    keeper.leave()
    assert (state / "runs" / RUN / "events.jsonl").exists()
    open_keeper(NEXT, Retention(runs=1), []).close({})
    assert names(state / "runs") == [NEXT]


def test_the_folder_of_a_run_that_lasts_stays_whatever_there_is_room_for(state: Path) -> None:
    open_keeper(RUN, Retention(), [])
    open_keeper(NEXT, Retention(runs=1), []).close({})
    assert names(state / "runs") == [RUN, NEXT]
