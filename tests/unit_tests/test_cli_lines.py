"""The command's own part: options, exit codes, lines. What it runs is proved on the real engine."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from langchain_sandbox.cli import main
from langchain_sandbox.cli.progress import Progress, shorten
from langchain_sandbox.cli.show import build_apply_command, print_json, print_result
from langchain_sandbox.cli.terminal import paint, say
from langchain_sandbox.events import build_event
from langchain_sandbox.exits import EXIT_OF, EXITS_TEXT, NOT_APPLIED
from langchain_sandbox.result import Commit, Ending, FileChange, Receipt, SandboxResult, Status, WorkspaceState
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.untrusted import show_controls, strip_controls

PATCH = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-old\n+new \x1b]0;owned\x07\u202e\n"

RUN = "0123456789ab"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SANDBOX_MODEL_BASE_URL", "SANDBOX_WORKSPACE", "SANDBOX_TIMEOUT", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))


def make_result(**fields: object) -> SandboxResult:
    given = {
        "run_id": RUN,
        "status": "completed",
        "ok": True,
        "ending": Ending(code="completed", message="Done."),
        "receipt": Receipt(package="0"),
    }
    return SandboxResult.model_validate(given | fields)


def test_every_ending_has_an_exit_code_that_the_help_explains() -> None:
    assert set(EXIT_OF) == set(get_args(Status))
    assert [status for status, code in EXIT_OF.items() if code == 0] == ["completed"]
    explained = {int(line.split()[0]) for line in EXITS_TEXT.splitlines()[1:]}
    assert {*EXIT_OF.values(), NOT_APPLIED} <= explained


@pytest.mark.parametrize("command", [[], ["doctor"], ["build"], ["run"], ["gc"]])
def test_help_is_there_and_loads_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys, langchain_sandbox.cli as cli\n"
        f"try: cli.main({[*command, '--help']!r})\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'docker', 'httpx', 'langchain_core', 'langgraph', 'pydantic', 'anyio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: langchain-sandbox")
    assert done.stdout.endswith("\n[]\n")


def test_it_is_a_module_too_and_tells_its_version() -> None:
    command = [sys.executable, "-m", "langchain_sandbox", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("langchain-sandbox ")


def test_no_command_or_no_such_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["nonsense"], ["run"], ["run", "x", "--nonsense"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "x"], "SANDBOX_MODEL_BASE_URL"),
        (["run", "x", "--model", "localhost:8000"], "base_url"),
        (["run", " ", "--model", "http://127.0.0.1:9"], "task is empty"),
        (["run", "x", "--model", "http://127.0.0.1:9", "--timeout", "soon"], "timeout"),
        (["run", "x", "--model", "http://127.0.0.1:9", "--workspace", ""], "workspace"),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("langchain-sandbox: error: ")
    assert said in err
    assert err.count("\n") == 1


def test_texts_in_pieces_become_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    for text in ("I wi", "ll loo", "k.\n\nThen I \x1b[31mfix", " it"):
        progress.show(build_event("text", run_id="r", at=1.0, text=text))
    progress.show(
        build_event("tool_started", run_id="r", at=2.0, call_id="c", tool="bash", input={"command": "ls\n\rrm"})
    )
    progress.show(build_event("tool_ended", run_id="r", at=3.0, call_id="c", tool="bash", status="error", output=""))
    progress.show(build_event("step", run_id="r", at=3.0, index=0, reason="stop"))
    assert capsys.readouterr().err.splitlines() == [
        "[   1.0 s] I will look.",
        "[   1.0 s] Then I [31mfix it",
        "[   2.0 s] -> bash: ls rm",
        "[   3.0 s] <- error:",
    ]


def test_long_lines_are_shortened() -> None:
    assert len(shorten("x" * 1000)) == 160
    assert shorten("short") == "short"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert paint("x", "red", Terminal()) == "\x1b[31mx\x1b[0m"
    assert paint("x", None, Terminal()) == "x"
    assert paint("x", "red", io.StringIO()) == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "red", Terminal()) == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert paint("x", "red", Terminal()) == "x"


def test_what_steers_a_terminal_is_taken_out_or_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = "a\tb\n\x1b[2J\x07\u202e\u200bé\ud800"
    assert strip_controls(text) == "a\tb\n[2Jé"
    assert show_controls(text) == "a\tb\n\\x1b[2J\\x07\\u202e\\u200bé\\ud800"
    say("x\x1b[2Jy")
    assert capsys.readouterr().err == "x[2Jy\n"


def test_a_result_is_shown_with_nothing_hidden_and_how_to_apply_what_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = make_result(
        text="Fixed\x1b[2J it.",
        patch=PATCH,
        files=[FileChange(path="a\nb", kind="modified", insertions=1, deletions=1)],
        workspace=WorkspaceState(root=str(tmp_path), digest="d"),
    )
    print_result(result, discarded=False)
    out = capsys.readouterr().out
    assert "Changes:  not applied; the diff is above." in out
    folder = RunFolder.of(RUN)
    folder.make()
    folder.patch.write_text(PATCH)
    print_result(result, discarded=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "Fixed[2J it." in out
    assert "+new \\x1b]0;owned\\x07\\u202e" in out
    assert "1 changed (+1 -1): a\\nb" in out
    assert f"git -C {tmp_path} apply {tmp_path}/state/runs/{RUN}/changes.patch" in out


def test_a_typed_answer_is_shown_as_json_and_commits_alone_are_not_taken_for_a_patch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    commit = Commit(id="c" * 40, subject="fix: it", author="A", email="a@x", date="2026-11-28T00:00:00Z")
    print_result(make_result(structured={"why": "\x1b[2Jé"}, commits=[commit]), discarded=False)
    out = capsys.readouterr().out
    assert '{\n  "why": "' in out
    assert "\x1b" not in out
    assert "Run it with --apply" in out


def test_a_result_says_what_became_of_its_changes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = [FileChange(path="a", kind="added")]
    workspace = WorkspaceState(root="/w", digest="d")
    print_result(make_result(patch=PATCH, files=files, workspace=workspace, applied=True), discarded=False)
    assert "Changes:  applied to /w" in capsys.readouterr().out
    print_result(make_result(patch="", workspace=workspace), discarded=True)
    assert "discarded" in capsys.readouterr().out
    print_result(make_result(patch="", workspace=workspace), discarded=False)
    assert "Changes:" not in capsys.readouterr().out
    assert not (tmp_path / "state").exists()


def test_json_is_one_line_of_ascii_and_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    result = make_result(text="é 😀 \x1b[2J\x9b\x7f", patch=PATCH)
    print_json(result)
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert out.count("\n") == 1
    assert SandboxResult.model_validate_json(out) == result


def test_the_command_that_applies_names_the_place_below_a_repository(tmp_path: Path) -> None:
    below = tmp_path / "my repository" / "sub"
    below.mkdir(parents=True)
    assert build_apply_command(str(below), "/p") == f"git -C '{below}' apply /p"
    subprocess.run(["git", "init", "-q"], cwd=below.parent, check=True)
    assert build_apply_command(str(below.parent), "/p") == f"git -C '{below.parent}' apply /p"
    assert build_apply_command(str(below), "/p") == f"git -C '{below}' apply --directory=sub/ /p"
