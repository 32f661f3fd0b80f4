"""Runs on this machine's disk, found by their names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from runs import make_result

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.kept_runs import find_run, list_runs
from langchain_sandbox.run_folder import EventFile, RunFolder


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path))
    return tmp_path


def keep(run_id: str, *, at: float, patch: str | None = "p\n") -> RunFolder:
    folder = RunFolder.of(run_id)
    folder.make()
    events = EventFile(folder)
    events.put({"type": "warning", "run_id": run_id, "at": 1.0, "message": "beware"})
    events.flush()
    folder.finish(make_result(run_id=run_id, patch=patch).model_dump(mode="json"))
    os.utime(folder.result, (at, at))
    return folder


def test_runs_are_listed_the_latest_first() -> None:
    keep("aaaa00000001", at=100)
    keep("aaaa00000002", at=300)
    keep("bbbb00000003", at=200)
    (RunFolder.of("aaaa00000002").path.parent / "no-run").mkdir()
    assert [run.run_id for run in list_runs()] == ["aaaa00000002", "bbbb00000003", "aaaa00000001"]
    assert find_run("last").run_id == "aaaa00000002"
    assert find_run("bbbb").run_id == find_run("bbbb00000003").run_id == "bbbb00000003"
    assert [event.type for event in find_run("bbbb").events()] == ["warning"]
    assert (find_run("bbbb").status, find_run("bbbb").over) == ("completed", True)
    assert find_run("bbbb").result().run_id == "bbbb00000003"


@pytest.mark.parametrize(
    ("name", "words"),
    [("aaaa", "more than one run: "), ("cccc", "There is no run"), ("aa", "four or more"), ("../x", "There is no run")],
)
def test_a_name_that_finds_no_run_says_what_to_do(name: str, words: str) -> None:
    keep("aaaa00000001", at=100)
    keep("aaaa00000002", at=300)
    with pytest.raises(SandboxConfigError, match=words):
        find_run(name)


def test_without_any_run_it_says_where_they_would_be(state: Path) -> None:
    with pytest.raises(SandboxConfigError, match=str(state / "runs")):
        find_run("last")


def test_a_run_under_way_has_no_result_yet() -> None:
    folder = RunFolder.of("aaaa00000001")
    folder.make()
    run = find_run("last")
    assert (run.status, run.over, run.under_way, list(run.events())) == (None, False, True, [])
    with pytest.raises(SandboxConfigError, match="no result: it is under way"):
        run.result()
    folder.leave()
    assert not run.under_way
    with pytest.raises(SandboxConfigError, match="no result: its process was killed"):
        run.result()


DEEP = "[" * 100_000


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "{}", '{"status": 7}', DEEP, "\u2026"])
def test_a_damaged_result_is_named(text: str) -> None:
    keep("aaaa00000001", at=100).result.write_text(text, encoding="utf-8")
    assert find_run("last").status in {None, "7"}
    with pytest.raises(SandboxConfigError, match="aaaa00000001 cannot be read"):
        find_run("last").result()


def test_events_that_cannot_be_read_are_passed_over() -> None:
    folder = keep("aaaa00000001", at=100)
    good = folder.events.read_text()
    folder.events.write_text(f'null\n7\n[]\n{{}}\n"x"\n{{"type": "no"}}\n{{\n{DEEP}\n{good}')
    assert [event.type for event in find_run("last").events()] == ["warning"]


def test_a_long_patch_is_read_from_the_folder() -> None:
    folder = keep("aaaa00000001", at=100, patch=None)
    folder.patch.write_text("long\n")
    assert find_run("last").patch_text() == "long\n"
    folder.patch.unlink()
    with pytest.raises(SandboxConfigError, match="cannot be read"):
        find_run("last").patch_text()
