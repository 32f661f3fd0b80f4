"""Commands: what their files may say, and the prompt that a call of one becomes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_sandbox.commands.folder import DEFAULTS, load_commands
from langchain_sandbox.commands.template import Command, CommandError, parse_call, parse_command, render
from langchain_sandbox.compose.task import Assigned, assign, read_task
from langchain_sandbox.errors import SandboxConfigError


def command(template: str) -> Command:
    return Command(name="c", template=template, source="c.md")


@pytest.mark.parametrize(
    ("template", "arguments", "prompt"),
    [
        ("Look at $ARGUMENTS.", "src lib", "Look at src lib."),
        ("Look at $ARGUMENTS.", "", "Look at ."),
        ("Move $1 to $2.", "a b", "Move a to b."),
        ("Move $1 to $2.", "a b c d", "Move a to b c d."),
        ("Move $1 to $2.", "a", "Move a to ."),
        ("Move $2 to $1.", "'one word' \"and another\"", "Move and another to one word."),
        ("$1 $1", "a b", "a b a b"),
        ("$0 and $1", "a", "and a"),
        ("$10", "a", ""),
        ("Just do it.", "now", "Just do it.\n\nnow"),
        ("Just do it.", "", "Just do it."),
        ("$1: $ARGUMENTS", "a b", "a b: a b"),
        ("$ARGUMENTS", "$1", "$1"),
    ],
)
def test_placeholders_are_filled_in_as_opencode_fills_them(template: str, arguments: str, prompt: str) -> None:
    assert render(command(template), arguments) == prompt


def test_a_file_gives_a_command() -> None:
    text = "---\ndescription: 'Say: it'\nagent: plan\nsubtask: true\nother:\n  - nested\n---\n\nDo $1.\n"
    assert parse_command("team/do", text, source="do.md") == Command(
        name="team/do", template="Do $1.", source="do.md", description="Say: it", agent="plan", subtask=True
    )


def test_a_file_without_front_matter_is_all_text() -> None:
    assert parse_command("do", "Do it.\n---\nReally.", source="do.md").template == "Do it.\n---\nReally."


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("do", "---\nagent: plan\nDo it.", "x.md: line 1 opens a front matter"),
        ("do", "---\nagent: plan\n---\n \n", "x.md: the command has no text"),
        ("do", "", "x.md: the command has no text"),
        ("../do", "Do it.", "no name for a command"),
        ("a b", "Do it.", "no name for a command"),
        (".hidden", "Do it.", "no name for a command"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(name: str, text: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        parse_command(name, text, source="x.md")


@given(st.text(max_size=300))
def test_whatever_a_file_holds_it_gives_a_command_or_a_reason(text: str) -> None:
    try:
        parse_command("do", text, source="x.md")
    except CommandError as error:
        assert str(error).startswith("x.md: ")  # noqa: PT017 - both ways out are right


@pytest.mark.parametrize(
    ("task", "call"),
    [
        ("/refactor-audit src", ("refactor-audit", "src")),
        ("  /refactor-audit  src  lib \n", ("refactor-audit", "src  lib")),
        ("/team/deploy", ("team/deploy", "")),
        ("/do\nit", ("do", "it")),
        ("Do /refactor-audit", None),
        ("/", None),
        ("/ x", None),
        ("//x", None),
        ("/../x", None),
        ("--help", None),
    ],
)
def test_a_call_is_told_from_words(task: str, call: tuple[str, str] | None) -> None:
    assert parse_call(task) == call


def test_folders_are_read_in_order_and_faults_keep_nobody_else_out(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    (own / "team").mkdir(parents=True)
    other.mkdir()
    (own / "do.md").write_text("Ours.")
    (other / "do.md").write_text("Theirs.")
    (other / "more.md").write_text("More.")
    (own / "team/deploy.md").write_text("Deploy.")
    (own / "notes.txt").write_text("No command.")
    (own / "broken.md").write_text("---\n")
    (own / "binary.md").write_bytes(b"\xff\xfe")
    (own / "big.md").write_bytes(b"x" * 100_000)
    (own / "link.md").symlink_to("/etc/passwd")
    os.mkfifo(own / "fifo.md")
    commands, faults = load_commands([own, other, tmp_path / "absent"])
    assert {name: found.template for name, found in commands.items()} == {
        "do": "Ours.",
        "more": "More.",
        "team/deploy": "Deploy.",
    }
    assert len(faults) == 5
    assert all(str(own) in fault for fault in faults)


def test_the_commands_that_come_with_the_package() -> None:
    commands, faults = load_commands([DEFAULTS])
    assert faults == []
    assert {name: found.agent for name, found in commands.items()} == {"refactor-audit": "plan", "git-commit": "build"}
    assert all(found.description for found in commands.values())


def test_a_repositorys_own_command_comes_before_the_packages(tmp_path: Path) -> None:
    folder = tmp_path / ".opencode/commands"
    folder.mkdir(parents=True)
    assert assign("/refactor-audit src", workspace=tmp_path).text.startswith("Audit the code at `src`")
    (folder / "refactor-audit.md").write_text("---\nagent: build\n---\nOur own way: $1")
    assert assign("/refactor-audit src", workspace=tmp_path) == Assigned("Our own way: src", "build", expand=True)


def test_what_is_no_command_is_said_and_what_looks_like_a_path_is_words(tmp_path: Path) -> None:
    with pytest.raises(
        SandboxConfigError, match="There is no command /nonsense; there are /git-commit, /refactor-audit"
    ):
        assign("/nonsense now", workspace=tmp_path)
    assert assign("/etc/hosts is wrong", workspace=tmp_path) == Assigned("/etc/hosts is wrong")
    assert assign("Use @file and !`ls`", workspace=tmp_path).expand is False


def test_a_task_is_taken_byte_for_byte(tmp_path: Path) -> None:
    words = "a \"b\" 'c' $HOME ${X} `d`\n\n\ttab ünï 日本 "
    absent = tmp_path / "absent"
    assert read_task({"TASK": words}, absent) == words
    (tmp_path / "task").write_text(words * 10_000)
    assert read_task({}, tmp_path / "task") == words * 10_000


@pytest.mark.parametrize(
    ("task", "content", "words"),
    [
        ("", None, "empty"),
        ("  \n", None, "empty"),
        ("\udcff", None, "not UTF-8"),
        ("both", b"both", "Both TASK and TASK_FILE"),
        ("", b"", "empty"),
        ("", b"a\0b", "NUL"),
        ("", b"\xff", "not UTF-8"),
        ("", b"x" * (4 * 1024 * 1024 + 1), "4194305 bytes"),
    ],
)
def test_a_task_that_cannot_be_taken_says_why(tmp_path: Path, task: str, content: bytes | None, words: str) -> None:
    path = tmp_path / "task"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SandboxConfigError, match=words):
        read_task({"TASK": task}, path)
