"""The commands that need no engine: what a repository offers, which runs there are, what is applied of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs import make_result

from langchain_sandbox.cli import main
from langchain_sandbox.cli.applying import translate
from langchain_sandbox.cli.kept import find_applied
from langchain_sandbox.cli.live import Status, fit, write_clock
from langchain_sandbox.cli.runs import tell_age
from langchain_sandbox.cli.table import write_table
from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.result import WorkspaceState
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.workspace.applying import apply_result, delivery, planner
from langchain_sandbox.workspace.applying.record import Record, write_record

RUN = "0123456789ab"


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("SANDBOX_WORKSPACE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def keep(run_id: str = RUN, **fields: object) -> RunFolder:
    folder = RunFolder.of(run_id)
    folder.make()
    folder.finish(make_result(run_id=run_id, **fields).model_dump(mode="json"))
    return folder


def put_command(root: Path, name: str, text: str) -> None:
    path = root / ".opencode" / "commands" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_repository_says_what_it_offers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "\n  - {name: target, enum: [a, b]}\n  - {name: n, default: two}"
    head = f"description: Ship it\nchanges: return\narguments:{arguments}"
    put_command(tmp_path, "deploy", f"---\n{head}\n---\nGo to $1, $2.")
    assert main(["commands", "--workspace", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    source = tmp_path / ".opencode/commands/deploy.md"
    assert out.startswith(
        "/deploy TARGET [N]\n  Ship it\n    TARGET  (a, b)\n    N  [two]\n"
        f"  from {source} · may change files, for you to apply\n"
    )
    assert "/refactor-audit [SCOPE]\n" in out
    assert "comes with the package · changes nothing · typed answer: summary, findings" in out
    assert main(["commands", "--workspace", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (deploy,) = [each for each in told["commands"] if each["name"] == "deploy"]
    assert (deploy["usage"], deploy["from"], deploy["changes"]) == ("/deploy TARGET [N]", "repository", "return")
    assert told["faults"] == []


def test_what_cannot_be_used_is_named_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_command(tmp_path, "deploy", "---\ndescription: Ship it\ntimeout: soon\n---\nGo.")
    assert main(["commands", "--workspace", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "/deploy" not in out
    assert err.startswith(f"✗ {tmp_path}/.opencode/commands/deploy.md:3: ")
    assert main(["commands", "--workspace", str(tmp_path), "--json"]) == 1
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert fault["line"] == 3
    assert main(["commands", "--workspace", str(tmp_path / "nowhere")]) == 2


def test_runs_are_listed_the_latest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert "No run is kept" in capsys.readouterr().err
    os.utime(keep("aaaaaaaaaaaa").result, (1, 1))
    keep("bbbbbbbbbbbb", settings={"task": "Fix\x1b[2J\nit."})
    for number, name in enumerate(("cccccccccccc", "dddddddddddd"), 2):
        RunFolder.of(name).make()
        os.utime(RunFolder.of(name).path, (number, number))
    RunFolder.of("dddddddddddd").leave()
    os.utime(RunFolder.of("dddddddddddd").path, (3, 3))
    assert main(["runs"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == "RUN           STATUS     WHEN            CHANGES  APPLIED  TASK"
    assert rows[0] == "bbbbbbbbbbbb  completed  just now        -        -        Fix[2J it."
    assert [row.split()[:2] for row in rows[1:]] == [
        ["dddddddddddd", "killed"],
        ["cccccccccccc", "running"],
        ["aaaaaaaaaaaa", "completed"],
    ]
    assert main(["runs", "--json", "--limit", "1"]) == 0
    assert [row["run_id"] for row in json.loads(capsys.readouterr().out)] == ["bbbbbbbbbbbb"]
    with pytest.raises(SystemExit):
        main(["runs", "--limit", "0"])


def test_what_is_applied_is_what_was_not_reverted() -> None:
    folder = keep()
    assert find_applied(RUN) is None
    folder.applied.mkdir()
    write_record(folder.applied, Record("/w", paths={"a": (None, (0o100644, "b"))}))
    assert find_applied(RUN) == "/w"
    write_record(folder.applied, Record("/w"))
    assert find_applied(RUN) is None
    (folder.applied / "record.json").write_text("{")
    assert find_applied(RUN) is None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "last"], 2, "No run is kept"),
        (["apply", "nonsense"], 2, "No run is kept"),
        (["show", "text.json"], 2, "does not hold the JSON of a result"),
        (["apply", "result.json"], 2, "--workspace DIR"),
        (["apply", "result.json", "--workspace", "nowhere"], 2, "is no folder"),
        (["revert", "result.json", "--workspace", "."], 6, "Nothing is known"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.json").write_text("text")
    Path("result.json").write_text(make_result(workspace=WorkspaceState(digest="d")).model_dump_json())
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_a_page_goes_to_what_is_kept_of_the_run_or_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "result.json"
    file.write_text(make_result().model_dump_json())
    assert main(["show", str(file), "--open"]) == 0
    assert f"The page is {tmp_path}/result.html" in capsys.readouterr().err
    folder = keep()
    assert main(["show", RUN[:4], "--open"]) == 0
    assert "<html" in (folder.path / "report.html").read_text()
    page = tmp_path / "page.html"
    assert main(["show", "last", "--html", str(page)]) == 0
    assert RUN in page.read_text()
    assert main(["show", "last", "--html", str(tmp_path / "nowhere" / "page.html")]) == 2
    assert capsys.readouterr().out == ""


def test_a_page_is_opened_in_the_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > "$0.opened"\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", str(browser))
    folder = keep()
    command = [sys.executable, "-m", "langchain_sandbox", "show", "last", "--open"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "browser.opened").read_text() == f"{(folder.path / 'report.html').as_uri()}\n"


def test_messages_for_programmers_name_options_here() -> None:
    for source in (planner, delivery, apply_result):
        said = Path(str(source.__file__)).read_text()
        assert "apply(result, policy=" in said
        assert "ApplyPolicy(risky" not in translate(said).replace("policy=policy or ApplyPolicy()", "")
    error = SandboxApplyError('allow them with apply(result, policy=ApplyPolicy(risky="allow")).')
    assert translate(str(error)) == "allow them with --allow-risky."


def test_a_table_is_whole_in_a_pipe_and_cut_in_a_window() -> None:
    rows = [[("a", None), ("漢字漢字", None)], [("bb", None), ("x\ny", None)]]
    assert write_table(["H", "TASK"], rows, width=None) == ["H   TASK", "a   漢字漢字", "bb  x y"]
    assert write_table(["H", "TASK"], rows, width=9) == ["H   TASK", "a   漢字…", "bb  x y"]
    assert write_table(["H", "TASK"], rows, width=3) == ["H", "a", "bb"]


def test_ages_and_clocks_are_short() -> None:
    ages = {0: "just now", 61: "1 min ago", 7300: "2 hours ago", 90_000: "1 day ago", -5: "just now"}
    assert {age: tell_age(0, age) for age in ages} == ages
    assert [write_clock(seconds) for seconds in (0, 65.9, 3600)] == ["0:00", "1:05", "1:00:00"]


def test_a_status_says_as_much_as_there_is_room_for() -> None:
    assert fit(["0:01 of 5:00", "1 in, 2 out", "3 calls"], 100) == "0:01 of 5:00 · 1 in, 2 out · 3 calls"
    assert fit(["0:01 of 5:00", "1 in, 2 out", "3 calls"], 30) == "0:01 of 5:00 · 1 in, 2 out"
    assert fit(["0:01 of 5:00", "1 in, 2 out", "3 calls"], 1) == "0:01 of 5:00"
    assert Status(300).figures() == ["0:00 of 5:00"]
