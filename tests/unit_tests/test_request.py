"""What a run is asked for: one thing, which can work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from langchain_sandbox.commands.command import Command
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.request import build_prompt, choose_changes, choose_output, choose_timeout


def command(**fields: Any) -> Command:
    return Command(name="do", template="Do $ARGUMENTS.", source="do.md", digest="0" * 64, **fields)


@pytest.mark.parametrize(
    ("task", "named", "arguments", "words"),
    [
        (None, None, None, "either a task or a command"),
        ("x", "refactor-audit", None, "either a task or a command"),
        ("x", None, {"a": 1}, "belong to command="),
        ("", None, None, "empty"),
        ("a\0b", None, None, "position 1"),
        ("a\ud800", None, None, "position 1"),
        ("x" * (4 * 1024 * 1024 + 1), None, None, "4194305 bytes"),
        (None, "nonsense", None, "There is no command /nonsense; there are /"),
        ("/nonsense", None, None, "There is no command /nonsense"),
    ],
)
def test_what_cannot_work_is_said(task: Any, named: Any, arguments: Any, words: str) -> None:
    with pytest.raises(SandboxConfigError, match=words):
        build_prompt(task, named, arguments, root=None)


def test_one_command_three_ways(tmp_path: Path) -> None:
    folder = tmp_path / ".opencode/commands/team"
    folder.mkdir(parents=True)
    (folder / "do.md").write_text("Do $1 now.")
    prompts = [
        build_prompt("/team/do it", None, None, root=tmp_path),
        build_prompt(None, "team/do", "it", root=tmp_path),
        build_prompt(None, "/team-do", {"arg1": "it"}, root=tmp_path),
    ]
    assert [prompt.text for prompt in prompts] == ["Do it now."] * 3
    assert all(prompt.describe()["expand"] for prompt in prompts)
    assert build_prompt(None, prompts[0].command, "that", root=None).text == "Do that now."


def test_a_tasks_own_words_are_not_expanded() -> None:
    assert build_prompt("Say !`ls` and @file", None, None, root=None).describe()["expand"] is False
    assert build_prompt("/etc/hosts is wrong", None, None, root=None).text == "/etc/hosts is wrong"


@pytest.mark.parametrize(
    ("usual", "own", "got"),
    [
        ("apply", None, "apply"),
        ("apply", "discard", "discard"),
        ("apply", "return", "return"),
        ("return", "apply", "return"),
        ("return", "review", "return"),
        ("discard", "apply", "discard"),
        ("discard", "return", "discard"),
    ],
)
def test_a_command_may_want_less_and_never_more(usual: Any, own: Any, got: str) -> None:
    assert choose_changes(None, usual, command(changes=own)) == got
    assert choose_changes("apply", usual, command(changes=own)) == "apply"


def test_a_commands_time_is_its_own_up_to_a_limit() -> None:
    assert choose_timeout(None, 300.0, command(timeout=60.0)) == (60.0, [])
    assert choose_timeout(None, 300.0, command(timeout=1200.0)) == (1200.0, [])
    seconds, warnings = choose_timeout(None, 300.0, command(timeout=1e9))
    assert seconds == 3600
    assert "gets 3600 s" in warnings[0]
    assert choose_timeout(None, 7200.0, command(timeout=1e9))[0] == 7200
    assert choose_timeout(10, 300.0, command(timeout=60.0)) == (10, [])
    assert choose_timeout(None, 300.0, None) == (300.0, [])


def test_the_callers_type_comes_before_the_commands() -> None:
    own = {"type": "object", "properties": {"a": {}}}
    assert choose_output(None, None) is None
    assert choose_output(None, command(output=own)).schema == own  # type: ignore[union-attr]
    assert choose_output(list[str], command(output=own)).schema["required"] == ["answer"]  # type: ignore[union-attr]
