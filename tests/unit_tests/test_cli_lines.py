"""The command's own part: options, exit codes, lines. What it runs is proved on the real engine."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from langchain_sandbox.cli import main
from langchain_sandbox.cli.answer import paint_diff, print_json, print_result
from langchain_sandbox.cli.progress import LineProgress, shorten
from langchain_sandbox.cli.run import read_task
from langchain_sandbox.cli.summary import describe_changes, sum_up
from langchain_sandbox.cli.terminal import paint, say, write_mark
from langchain_sandbox.events import build_event
from langchain_sandbox.exits import EXIT_OF, EXITS_TEXT, NOT_APPLIED
from langchain_sandbox.result import (
    Commit,
    Ending,
    FileChange,
    Receipt,
    SandboxResult,
    Settings,
    Status,
    WorkspaceState,
)
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.untrusted import show_controls, strip_controls

PATCH = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-old\n+new \x1b]0;owned\x07\u202e\n"

RUN = "0123456789ab"
HEAVY = {"docker", "httpx", "langchain_core", "langgraph", "pydantic", "anyio", "rich", "argcomplete", "mcp"}
COMMANDS = ("doctor", "build", "run", "commands", "apply", "revert", "runs", "show", "mcp", "gc", "completion")


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


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
def test_help_is_there_and_loads_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys, langchain_sandbox.cli as cli\n"
        f"try: cli.main({[*command, '--help']!r})\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: langchain-sandbox")
    assert done.stdout.endswith("\n[]\n")
    assert command in ([], ["mcp"]) or "\nexamples:\n  " in done.stdout


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
    with LineProgress() as progress:
        for text in ("I wi", "ll loo", "k.\n\nThen I \x1b[31mfix", " it"):
            progress.show(build_event("text", run_id="r", at=1.0, text=text))
        progress.show(
            build_event("tool_started", run_id="r", at=2.0, call_id="c", tool="bash", input={"command": "ls\n\rrm"})
        )
        progress.show(
            build_event("tool_ended", run_id="r", at=3.0, call_id="c", tool="bash", status="error", output="")
        )
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


def test_a_result_is_shown_with_nothing_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    result = make_result(
        text="Fixed\x1b[2J it.",
        structured={"why": "\x1b[2Jé"},
        patch=PATCH,
        files=[FileChange(path="a\nb", kind="modified", insertions=1, deletions=1, risks=["ci"])],
        commits=[Commit(id="c" * 40, subject="fix:\x1b[2J it", author="A", email="a@x", date="2026-11-28T00:00:00Z")],
        warnings=["Mind\x1b[2J this."],
    )
    print_result(result, then=["The end."])
    assert capsys.readouterr().out.split("\n") == [
        "Fixed[2J it.",
        "",
        "{",
        '  "why": "\\u001b[2Jé"',
        "}",
        "",
        *PATCH.split("\n")[:-2],
        "+new \\x1b]0;owned\\x07\\u202e",
        "",
        "✓ completed in 0.0 s · 0 model calls · 0 tokens in, 0 out",
        "  ⚠ Mind[2J this.",
        "",
        "1 file changed +1 -1",
        "  M a\\nb  +1 -1  ⚠ ci",
        "",
        "1 commit",
        "  cccccccccccc fix:[2J it",
        "",
        "The end.",
        "",
    ]


def test_what_did_not_complete_says_why_and_what_to_do() -> None:
    ending = Ending(code="answer_cut", message="The answer was cut.", hint="Give it\nmore.")
    files = [FileChange(path=f"{number}", kind="added") for number in range(25)]
    lines = sum_up(make_result(status="incomplete", ok=False, ending=ending, partial=True, files=files))
    assert lines[0].startswith("✗ incomplete in ")
    assert lines[1:4] == ["  The answer was cut.", "  Give it", "  more."]
    assert "25 files changed +0 -0, as far as the run came" in lines
    assert lines[-1] == "  ... and 5 more files"


def test_what_can_be_done_with_the_changes_is_what_can_be_done(tmp_path: Path) -> None:
    files = [FileChange(path="a", kind="added")]
    workspace = WorkspaceState(root="/w", digest="d")
    changed = make_result(files=files, workspace=workspace)
    assert describe_changes(changed, applied_to="/v") == [
        "Applied to /v.",
        f"To take it back: langchain-sandbox revert {RUN}",
    ]
    assert describe_changes(make_result(workspace=workspace), applied_to=None) == ["No files were changed."]
    (nothing_kept,) = describe_changes(changed, applied_to=None)
    assert "SANDBOX_KEEP" in nothing_kept
    folder = RunFolder.of(RUN)
    folder.make()
    folder.finish({})
    assert describe_changes(changed, applied_to=None) == [
        "Not applied to /w.",
        f"To apply it: langchain-sandbox apply {RUN}",
    ]
    nowhere = describe_changes(make_result(files=files), applied_to=None)
    assert nowhere[1].endswith(f"apply {RUN} --workspace DIR")
    dropped = make_result(files=files, settings=Settings(changes="discard"))
    assert describe_changes(dropped, applied_to=None) == ["Not applied: the changes were to be discarded."]
    assert not (tmp_path / "state" / "runs" / RUN / "applied").exists()


def test_json_is_one_line_of_ascii_and_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    result = make_result(text="é 😀 \x1b[2J\x9b\x7f", patch=PATCH)
    print_json(result)
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert out.count("\n") == 1
    assert SandboxResult.model_validate_json(out) == result


@pytest.mark.parametrize(
    ("words", "task"),
    [
        (["Fix it.  Now"], "Fix it.  Now"),
        (["/deploy", "to production", "now"], "/deploy 'to production' now"),
        (["/deploy", "", "it's"], "/deploy '' it's"),
        (["a", "-"], "a -"),
    ],
)
def test_several_words_are_one_task(words: list[str], task: str) -> None:
    assert read_task(words) == task


def test_a_diff_is_painted_by_its_place_and_not_by_its_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", Terminal())
    head = f"diff --git a/a b/a\nindex {'a' * 40}..{'b' * 40} 100644\n--- a/a\n+++ b/a\n"
    hunk = f"@@ -1 +1 @@\n--- a heading\n+++ counter\n index {'a' * 40}\n"
    assert paint_diff(head + hunk).split("\n") == [
        "\x1b[1mdiff --git a/a b/a\x1b[0m",
        f"\x1b[1mindex {'a' * 9}..{'b' * 9} 100644\x1b[0m",
        "\x1b[1m--- a/a\x1b[0m",
        "\x1b[1m+++ b/a\x1b[0m",
        "\x1b[36m@@ -1 +1 @@\x1b[0m",
        "\x1b[31m--- a heading\x1b[0m",
        "\x1b[32m+++ counter\x1b[0m",
        f" index {'a' * 40}",
    ]


def test_marks_are_for_encodings_that_have_them() -> None:
    assert write_mark("✓", "+", io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) == "✓"
    assert write_mark("✓", "+", io.TextIOWrapper(io.BytesIO(), encoding="latin-1")) == "+"


def test_the_page_explains_the_same_exit_codes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    rows = page.partition("<!-- exits -->\n")[2].partition("<!-- /exits -->")[0].splitlines()[2:]
    told = [line.strip().split("  ", 1) for line in EXITS_TEXT.splitlines()[1:]]
    assert rows == [f"| {code} | {meaning} |" for code, meaning in told]


def test_the_page_and_the_help_list_the_commands_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out.partition("COMMAND\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^    ([a-z]+)\b", listed, re.MULTILINE)) == sorted(COMMANDS)
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    table = page.partition("| command | what it does |\n")[2].partition("\n\n")[0]
    names = " ".join(row.split("|")[1] for row in table.splitlines()[1:])
    assert sorted(re.findall(r"`([a-z]+)`", names)) == sorted(COMMANDS)
