"""Commands: the prompt that a call of one becomes, and how the compose files' way finds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_sandbox.agent import expand
from langchain_sandbox.commands import syntax
from langchain_sandbox.commands.arguments import derive
from langchain_sandbox.commands.command import Argument, Command
from langchain_sandbox.commands.declaration import AGENTS
from langchain_sandbox.commands.folder import DEFAULTS, load_commands
from langchain_sandbox.commands.prompt import find_command, parse_task
from langchain_sandbox.commands.syntax import SHELL, WORD
from langchain_sandbox.commands.template import parse_call, render
from langchain_sandbox.compose.task import read_task
from langchain_sandbox.config import MAX_TASK
from langchain_sandbox.errors import SandboxConfigError


def command(template: str, *arguments: Argument) -> Command:
    takes = arguments or derive(template)
    return Command(name="c", template=template, source="c.md", digest="0", arguments=takes)


SCOPE = Argument(name="scope", default="", required=False)
DEPTH = Argument(name="depth", type="integer", default=2, required=False)
KIND = Argument(name="kind", enum=("bug", "style"))
SHOUT = Argument(name="shout", type="boolean", required=False)


@pytest.mark.parametrize(
    ("template", "arguments", "prompt"),
    [
        ("Look at $ARGUMENTS.", "src lib", "Look at src lib."),
        ("Look at $ARGUMENTS.", "", "Look at ."),
        ("Look at $ARGUMENTS.", None, "Look at ."),
        ("Move $1 to $2.", "a b", "Move a to b."),
        ("Move $1 to $2.", "a b c d", "Move a to b c d."),
        ("Move $1 to $2.", "a", "Move a to ."),
        ("Move $2 to $1.", "'one word' \"and another\"", "Move and another to one word."),
        ("$1 $1", "a b", "a b a b"),
        ("$0 and $1", "a", "and a"),
        ("$10", "a", ""),
        (f"${'9' * 5000} $1", "a b", "a"),
        ("Just do it.", "now", "Just do it.\n\nnow"),
        ("Just do it.", "", "Just do it."),
        ("$1: $ARGUMENTS", "a b", "a b: a b"),
        ("$ARGUMENTS", "$1", "$1"),
        ("$1 then $ARGUMENTS", "'$ARGUMENTS' b", "'$ARGUMENTS' b b then '$ARGUMENTS' b"),
        ("$1|$2", "[image 12] x", "[image 12]|x"),
        ("$1|$2", "it's x", "it|s x"),
        ("Look: $ARGUMENTS", "!`ls` @x", "Look: !`ls` @x"),
        ("\u00b2 $1 $\u0661", "a\u3000b", "\u00b2 a b $\u0661"),
    ],
)
def test_words_are_put_in_as_opencode_puts_them_in(template: str, arguments: str | None, prompt: str) -> None:
    assert render(command(template), arguments) == prompt


@pytest.mark.parametrize(
    ("takes", "template", "words", "prompt"),
    [
        ([SCOPE], "Audit $1!", "src", "Audit src!"),
        ([SCOPE], "Audit $1!", "src lib", "Audit src lib!"),
        ([SCOPE], "Audit $1!", "'my docs'", "Audit my docs!"),
        ([SCOPE], "Audit $1!", "", "Audit !"),
        ([SCOPE], "Audit $ARGUMENTS!", "'my docs' x", "Audit 'my docs' x!"),
        ([SCOPE, DEPTH], "$1:$2", "src", "src:2"),
        ([SCOPE, DEPTH], "$1:$2", "src 3", "src:3"),
        ([SCOPE, DEPTH], "$1:$2", "", ":2"),
        ([SCOPE, DEPTH], "$ARGUMENTS", "'a b'", '"a b" 2'),
        ([KIND, SHOUT], "$1 $2", "bug True", "bug True"),
        ([KIND, SHOUT], "$1 $2", "bug", "bug"),
    ],
)
def test_words_for_declared_arguments_are_completed(
    takes: list[Argument], template: str, words: str, prompt: str
) -> None:
    assert render(command(template, *takes), words) == prompt


@pytest.mark.parametrize(
    ("takes", "template", "values", "prompt"),
    [
        ([SCOPE], "Audit $1!", {"scope": "my 'old' docs"}, "Audit my 'old' docs!"),
        ([SCOPE], "Audit $1!", {}, "Audit !"),
        ([SCOPE], "Audit $1!", {"scope": None}, "Audit !"),
        ([SCOPE], "Audit $ARGUMENTS!", {"scope": "my docs"}, "Audit my docs!"),
        ([SCOPE], "Audit.", {"scope": "my docs"}, "Audit.\n\nmy docs"),
        ([SCOPE], "Audit.", {}, "Audit."),
        ([SCOPE, DEPTH], "$1:$2:$1", {"depth": 7, "scope": "$2"}, "$2:7:$2"),
        ([SCOPE, DEPTH], "$ARGUMENTS|$ARGUMENTS", {"scope": "a b"}, '"a b" 2|"a b" 2'),
        ([SCOPE, SHOUT], "$ARGUMENTS", {"scope": 'say "hi" now'}, 'say "hi" now'),
        ([SCOPE, SHOUT], "$ARGUMENTS", {"scope": 'say "hi"', "shout": True}, "'say \"hi\"' true"),
        ([SCOPE, SHOUT], "$1 $2", {"scope": "$ARGUMENTS", "shout": False}, "$ARGUMENTS false"),
        ([SCOPE, SHOUT], "$ARGUMENTS", {"shout": True}, '"" true'),
        ([KIND], "$1", {"kind": "bug"}, "bug"),
        ((), "$1 to $2", {"arg1": "a b", "arg2": "c"}, "a b to c"),
        ((), "Look at $ARGUMENTS", {"arguments": "a 'b c'"}, "Look at a 'b c'"),
        ((), "Costs $100.", {"arguments": "now"}, "Costs ."),
        ((), "Do it.", {"arguments": "now"}, "Do it.\n\nnow"),
        ((), "$0$1", {"arg1": "x"}, "x"),
    ],
)
def test_values_are_put_in_once_as_they_are(
    takes: list[Argument], template: str, values: dict[str, Any], prompt: str
) -> None:
    assert render(command(template, *takes), values) == prompt


@pytest.mark.parametrize(
    ("template", "value", "prompt"),
    [
        ("Look: $1", "!`id` and !`id`", "Look: ! `id` and ! `id`"),
        ("Look: $ARGUMENTS", "!`id`", "Look: ! `id`"),
        ("Look.", "!`id`", "Look.\n\n! `id`"),
        ("Wow!$1", "`id`", "Wow! `id`"),
        ("$1`id`", "Wow!", "Wow! `id`"),
        ("!$1`id`", "", "! `id`"),
        ("!`git log $1` then $1", "main..HEAD -5", "!`git log main..HEAD -5` then main..HEAD -5"),
        ("!`ls`, $1, !`ls`", "a; $(b) `c`", "!`ls`, a; $(b) `c`, !`ls`"),
        ("$1 @$1", "README.md", "README.md @README.md"),
    ],
)
def test_a_value_never_becomes_a_shell_command(template: str, value: str, prompt: str) -> None:
    assert render(command(template, SCOPE), {"scope": value}) == prompt


@pytest.mark.parametrize("template", ["!`git log $1`", '!`git log "$1"`', "!`git log $ARGUMENTS`", "Unclosed !`a $1"])
@pytest.mark.parametrize("value", ["; id", "$(id)", "a`", "a\nb", "'", '"', "a & b", "x|y", "{a,b}", "*", "<x", "#"])
def test_a_value_in_a_shell_command_is_plain_or_refused(template: str, value: str) -> None:
    with pytest.raises(SandboxConfigError, match="would be part of a shell command"):
        render(command(template, SCOPE), {"scope": value})


VALUES = st.text(alphabet="!`ab$1 ", max_size=12)


@given(st.text(alphabet="!`ab$12 ", max_size=30), VALUES, VALUES)
def test_no_value_adds_a_shell_command_to_a_template(template: str, one: str, two: str) -> None:
    takes = (Argument(name="one"), Argument(name="two"))
    try:
        prompt = render(command(template, *takes), {"one": one, "two": two})
    except SandboxConfigError:
        return
    assert len(SHELL.findall(prompt)) <= len(SHELL.findall(template))


@given(st.lists(st.text(alphabet="ab \"'\n\u3000$!", max_size=8), min_size=2, max_size=5))
def test_arguments_are_quoted_so_that_they_are_told_apart_again(words: list[str]) -> None:
    takes = tuple(Argument(name=f"a{index}") for index in range(len(words)))
    whole = render(command("<$ARGUMENTS>", *takes), {f"a{index}": word for index, word in enumerate(words)})
    while words and not words[-1]:
        words.pop()
    if len(words) > 1 and not any("'" in word and '"' in word for word in words):
        assert [word.strip("\"'") for word in WORD.findall(whole[1:-1])] == [word.strip("\"'") for word in words]


@pytest.mark.parametrize(
    ("takes", "arguments", "words"),
    [
        ([KIND], {}, "'kind' is missing. It takes kind (one of bug, style)."),
        ([KIND], {"kind": None}, "'kind' is missing"),
        ([KIND], "", "'kind' is missing"),
        ([KIND], {"kind": "other"}, "'kind' must be one of bug, style, not 'other'"),
        ([KIND], "other", "'kind' must be one of bug, style, not 'other'"),
        ([KIND], "bug style", "'kind' must be one of bug, style, not 'bug style'"),
        ([SCOPE], {"scop": "x"}, "'scop' is no argument of it. It takes scope (string, optional)."),
        ([SCOPE], {1: "x"}, "1 is no argument of it"),
        ([SCOPE], {"scope": 3}, "'scope' must be of type string, not 3"),
        ([SCOPE], {"scope": "a\0"}, "'scope' has a NUL"),
        ([SCOPE], {"scope": "\ud800"}, "'scope' is not valid text"),
        ([SCOPE], "a\0", "what is behind it has a NUL"),
        ([DEPTH], {"depth": "3"}, "'depth' must be of type integer, not '3'"),
        ([DEPTH], {"depth": True}, "'depth' must be of type integer, not True"),
        ([DEPTH], {"depth": 1.5}, "'depth' must be of type integer, not 1.5"),
        ([DEPTH], "x", "'depth' must be of type integer, not 'x'"),
        ([DEPTH], "1 2", "'depth' must be of type integer, not '1 2'"),
        ([SHOUT], {"shout": 1}, "'shout' must be of type boolean, not 1"),
        ([SHOUT], "yes", "'shout' must be of type boolean, not 'yes'"),
        ([Argument(name="n", type="number")], {"n": float("nan")}, "'n' must be of type number, not nan"),
        ([Argument(name="n", type="number")], "inf", "'n' must be of type number, not inf"),
        ((), {"arguments": 3}, "'arguments' must be of type string"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(takes: list[Argument], arguments: Any, words: str) -> None:
    with pytest.raises(SandboxConfigError) as raised:
        render(command("Do it.", *takes), arguments)
    assert str(raised.value).startswith("/c: ")
    assert words in str(raised.value)


def test_a_command_that_takes_nothing_takes_nothing() -> None:
    bare = replace(command("Do it."), arguments=())
    assert render(bare, "  ") == "Do it."
    assert render(bare, {}) == "Do it."
    for arguments in ("now", {"arguments": "now"}):
        with pytest.raises(SandboxConfigError, match="It takes nothing"):
            render(bare, arguments)


@pytest.mark.parametrize("arguments", ["$ARGUMENTS " * 5000, {"arg1": "x" * 5000}])
def test_a_prompt_does_not_grow_without_end(arguments: str | Mapping[str, Any]) -> None:
    with pytest.raises(SandboxConfigError, match="too long; a prompt may have 4 MiB"):
        render(command("$1" * (MAX_TASK // 5000 + 1)), arguments)


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


def test_what_a_command_runs_and_attaches_is_listed() -> None:
    looks = command("!`git log $1` and !`a @not-this`: @README.md, @docs/$1, a@b.c, `@code`, @ and @README.md.")
    assert looks.shell == ("git log $1", "a @not-this")
    assert looks.files == ("README.md", "docs/$1")


def test_the_commands_that_come_with_the_package() -> None:
    commands, faults = load_commands([DEFAULTS])
    assert faults == []
    assert {name: (found.agent, found.changes, bool(found.output)) for name, found in commands.items()} == {
        "code-review": ("plan", "discard", True),
        "fix-tests": ("build", None, False),
        "git-commit": ("build", None, False),
        "refactor-audit": ("plan", "discard", True),
        "write-tests": ("build", None, False),
    }
    takes = {name: [(taken.name, taken.required) for taken in found.arguments] for name, found in commands.items()}
    assert takes == {
        "code-review": [("range", False)],
        "fix-tests": [("command", False)],
        "git-commit": [("hint", False)],
        "refactor-audit": [("scope", False)],
        "write-tests": [("target", True)],
    }
    for found in commands.values():
        assert found.description
        assert (found.shell, found.files) == ((), ())
        assert all(taken.description for taken in found.arguments)


def test_a_repositorys_own_command_comes_before_the_packages(tmp_path: Path) -> None:
    folder = tmp_path / ".opencode/commands"
    folder.mkdir(parents=True)
    assert "Scope: src\n" in parse_task("/refactor-audit src", root=tmp_path).text
    (folder / "refactor-audit.md").write_text("---\nagent: build\n---\nOur own way: $1")
    prompt = parse_task("/refactor-audit src", root=tmp_path)
    assert (prompt.text, prompt.describe()["agent"], prompt.describe()["expand"]) == ("Our own way: src", "build", True)


def test_an_operators_command_comes_between(tmp_path: Path) -> None:
    (tmp_path / "git-commit.md").write_text("The operator's way.")
    assert parse_task("/git-commit", root=None, extra=[tmp_path]).text == "The operator's way."


def test_a_command_that_cannot_be_used_is_said_and_nothing_runs_in_its_stead(tmp_path: Path) -> None:
    folder = tmp_path / ".opencode/commands"
    folder.mkdir(parents=True)
    (folder / "git-commit.md").write_text("---\ntimeout: long\n---\nOur own way.")
    with pytest.raises(
        SandboxConfigError, match=r"no command /git-commit; .*git-commit.md:2: 'timeout' must be seconds"
    ):
        find_command("git-commit", root=tmp_path)


def test_what_is_no_command_is_said_and_what_looks_like_a_path_is_words(tmp_path: Path) -> None:
    with pytest.raises(
        SandboxConfigError, match=r"no command /nonsense; there are /code-review, /fix-tests, /git-commit"
    ):
        parse_task("/nonsense now", root=tmp_path)
    for words in ("/etc/hosts is wrong", "Use @file and !`ls`"):
        prompt = parse_task(words, root=tmp_path)
        assert (prompt.text, prompt.describe()["expand"]) == (words, False)


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


def test_the_program_in_the_container_takes_the_same_for_the_same() -> None:
    """It shares no code with the host but the link, so these few words stand twice."""
    assert expand._SPACES == syntax.SPACES
    assert expand._SHELL == syntax.SHELL
    assert expand._FILE == syntax.FILE
    assert set(AGENTS) == expand._AGENTS
