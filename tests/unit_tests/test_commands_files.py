"""Commands: what their files may say, and what becomes of those that may not."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_sandbox.commands.command import Argument, Command
from langchain_sandbox.commands.declaration import parse_command
from langchain_sandbox.commands.folder import load_commands, load_repository_commands
from langchain_sandbox.errors import CommandError, SandboxConfigError

ALARM = 2.0


@contextmanager
def within_two_seconds() -> Iterator[None]:
    """An alarm that ends what takes longer, of the processor's time: a busy machine does not ring it."""

    def ring(*_: object) -> None:
        pytest.fail(f"still at it after {ALARM} s")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, ALARM)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def parse(front: str, text: str = "Do it.", *, name: str = "do") -> Command:
    return parse_command(name, f"---\n{front}\n---\n{text}\n".encode(), source="x.md")


def fault(content: str | bytes, name: str = "do") -> str:
    with pytest.raises(CommandError) as raised, within_two_seconds():
        parse_command(name, content if isinstance(content, bytes) else content.encode(), source="x.md")
    return str(raised.value)


def test_a_file_gives_a_command() -> None:
    content = b"""---
description: 'Say: it'
agent: plan
model: local/qwen
subtask: true
timeout: 90
changes: review
other:
  - nested
arguments:
  - where
  - name: depth
    type: integer
    description: How deep
    enum: [1, 2]
    default: 1
output:
  type: object
  properties:
    done: {type: boolean}
---

Do $1 and $2.
"""
    assert parse_command("team/do", content, source="do.md") == Command(
        name="team/do",
        template="Do $1 and $2.",
        source="do.md",
        digest=hashlib.sha256(content).hexdigest(),
        description="Say: it",
        agent="plan",
        model="local/qwen",
        timeout=90.0,
        changes="review",
        output={"type": "object", "properties": {"done": {"type": "boolean"}}},
        arguments=(
            Argument(name="where"),
            Argument(name="depth", type="integer", description="How deep", enum=(1, 2), default=1, required=False),
        ),
    )


@pytest.mark.parametrize(
    "content",
    [
        b"Do it.\n---\nReally.",
        b"---\n---\nDo it.\n---\nReally.",
        b"---\n# nothing\n---\nDo it.\n---\nReally.",
        b"--- yaml\n---\nDo it.\n---\nReally.",
        b"\xef\xbb\xbf---\ndescription:\nagent:\n---\nDo it.\n---\nReally.",
        b"\xef\xbb\xbf\xef\xbb\xbf Do it.\n---\nReally.",
    ],
)
def test_a_file_may_say_nothing_of_itself(content: bytes) -> None:
    found = parse_command("do", content, source="do.md")
    assert (found.template, found.description, found.agent) == ("Do it.\n---\nReally.", "", "build")


def test_line_ends_of_another_system_make_no_difference() -> None:
    found = parse_command("do", b"---\r\ndescription: Review: fast\r\nagent: plan\r\n---\r\nDo\r\nit.\r\n", source="x")
    assert (found.description, found.agent, found.template) == ("Review: fast", "plan", "Do\r\nit.")


@pytest.mark.parametrize(
    ("line", "description"),
    [
        ("description: Review: fast", "Review: fast"),
        ("description: see http://x: it's", "see http://x: it's"),
        ('description: a "b": c \\d', 'a "b": c \\d'),
        ("description: *important*: now", "*important*: now"),
        ("description: !now: go", "!now: go"),
        ("description: &all: of them", "&all: of them"),
        ("description: [a: b", "[a: b"),
        ("description: no", "no"),
        ("description: 12:30", "12:30"),
        ("description: 2026-11-28", "2026-11-28"),
        ("description: >-\n  two\n  lines", "two lines"),
    ],
)
def test_text_that_opencode_takes_is_taken(line: str, description: str) -> None:
    assert parse(f"{line}\nagent: plan").description == description


def test_a_description_steers_no_terminal_and_has_an_end() -> None:
    front = 'description: "\\e[2Ja\\u202e"\narguments:\n  - name: a\n    description: "\\e[2J' + "é" * 2000 + '"'
    found = parse(front)
    assert (found.description, found.arguments[0].description) == ("[2Ja", "[2J" + "é" * 1020 + "…")


@pytest.mark.parametrize(
    ("template", "arguments"),
    [
        (
            "$2 $1 $2",
            {"arg1": (True, "What is put in for $1."), "arg2": (True, "What is put in for $2, and whatever follows.")},
        ),
        (
            "$2",
            {"arg1": (True, "What is put in for $1."), "arg2": (True, "What is put in for $2, and whatever follows.")},
        ),
        ("$1 $ARGUMENTS", {"arg1": (True, "What is put in for $1, and whatever follows.")}),
        ("$ARGUMENTS", {"arguments": (False, "What is put in for $ARGUMENTS.")}),
        ("Do it.", {"arguments": (False, "What is added to the prompt.")}),
        ("$0", {"arguments": (False, "What is added to the prompt.")}),
        ("It costs $100.", {"arguments": (False, "What is added to the prompt.")}),
        ("$" + "9" * 5000, {"arguments": (False, "What is added to the prompt.")}),
    ],
)
def test_what_is_not_declared_is_derived(template: str, arguments: dict[str, tuple[bool, str]]) -> None:
    found = parse("description: x", template)
    assert {taken.name: (taken.required, taken.description) for taken in found.arguments} == arguments
    assert all(taken.type == "string" for taken in found.arguments)


@pytest.mark.parametrize(
    ("front", "names"),
    [
        ("arguments: []", []),
        ("arguments: {}", []),
        ("arguments: [a, b_2]", ["a", "b_2"]),
        ("arguments:\n  a:\n  b: {type: boolean}", ["a", "b"]),
        ("arguments:\n  - name: a\n  - b", ["a", "b"]),
    ],
)
def test_arguments_are_declared_in_three_ways(front: str, names: list[str]) -> None:
    assert [taken.name for taken in parse(front).arguments] == names


@pytest.mark.parametrize(
    ("front", "line", "words"),
    [
        ("a: &x [1]\nb: *x", 2, "anchors and aliases (& and *) are not taken"),
        ("b: *x", 2, "anchors and aliases"),
        ("a:\n  <<: {b: 1}", 3, "'<<' is not taken"),
        ("a: !!python/none x", 2, "tags (!) are not taken"),
        ("a: !!str x", 2, "tags (!) are not taken"),
        ("x: 1\ndescription: a\ndescription: b", 4, "'description' stands here twice"),
        ("x: 1\ny:\n  z: 1\n  z: 2", 5, "'z' stands here twice"),
        ("- a\n- b", 2, "a front matter is lines such as"),
        ("just words", 2, "a front matter is lines such as"),
        ("a: b\n... \nc: d", 4, "this is not YAML"),
        ("a: b\n? [c]\n: d", 3, "a key must be plain text"),
        ("a: [b\nc: d", 3, "this is not YAML"),
        ("a: b\n\tc: d", 3, "this is not YAML"),
        ("a: b\nc: \x07", 3, "a character that YAML does not allow"),
        ('a: "\\ud800"', 2, "half a character"),
        ('a: "\\UFFFFFFFF"', None, "an escape or a number in it does not exist"),
        ("a: b\ndescription: 7", 3, "'description' must be text, not 7; put it in quotes"),
        ("description: [a]", 2, "'description' must be text, not ['a']"),
        ("agent: reviewer", 2, "there is no agent 'reviewer': a repository's own are never loaded, so use build, plan"),
        ("agent: title", 2, "there is no agent 'title'"),
        ("subtask: maybe", 2, "'subtask' must be true or false"),
        ("timeout: 0", 2, "'timeout' must be seconds, more than 0, not 0"),
        ("timeout: -1.5", 2, "'timeout' must be seconds"),
        ("timeout: 5m", 2, "'timeout' must be seconds, more than 0, not '5m'"),
        ("timeout: true", 2, "'timeout' must be seconds"),
        ("timeout: 1e999", 2, "'timeout' must be seconds"),
        ("timeout: .inf", 2, "'timeout' must be seconds"),
        ("changes: push", 2, "'changes' must be one of return, review, apply, discard, not 'push'"),
        ("changes: [apply]", 2, "'changes' must be one of"),
        ("model: 4", 2, "'model' must be text"),
        ("model: " + "x" * 201, 2, "'model' must be a name such as provider/name"),
        ('model: "a\\e[2J"', 2, "'model' must be a name such as provider/name"),
        ("argument: [a]", 2, "there is no key 'argument'; do you mean 'arguments'?"),
        ("time_out: 4", 2, "do you mean 'timeout'?"),
        ("Output: {}", 2, "do you mean 'output'?"),
        ("arguments: a", 2, "'arguments' must be a list of names"),
        ("arguments:\n  - a\n  - 4", 4, "4 is no name for an argument"),
        ("arguments:\n  - Scope", 3, "'Scope' is no name for an argument: use a lower case letter"),
        ("arguments:\n  - runtime", 3, "runtime, timeout, tool_call_id are taken"),
        ("arguments:\n  - {type: string}", 3, "None is no name for an argument"),
        ("arguments:\n  - a\n  - b\n  - a", 5, "two arguments with the name 'a'"),
        ("arguments:\n  a: string", 3, "an argument is a name, or a mapping with a name"),
        ("arguments:\n  - name: a\n    typ: string", 4, "the argument 'a' has the key 'typ'; there are default"),
        (
            "arguments:\n  - name: a\n    type: str",
            4,
            "an argument's type must be one of string, integer, number, boolean",
        ),
        ("arguments:\n  - name: a\n    type: [string]", 4, "an argument's type must be one of"),
        ("arguments:\n  - name: a\n    enum: x", 4, "an argument's enum must be a list"),
        ('arguments:\n  - name: a\n    enum: ["x\\u202e"]', 4, "characters that nobody sees"),
        ('arguments:\n  - name: a\n    default: "\\e[2J"', 4, "characters that nobody sees"),
        (
            "arguments:\n  - name: a\n    enum:\n      - x\n      - 4",
            6,
            "in 'enum', 'a' must be of type string, not 4; put",
        ),
        ("arguments:\n  - name: a\n    default: 1.10", 4, "in 'default', 'a' must be of type string, not 1.1; put"),
        ("arguments:\n  - name: a\n    enum: [x]\n    default: y", 5, "in 'default', 'a' must be one of x, not 'y'"),
        ("arguments:\n  - name: a\n    required: true\n    default: y", 4, "required and has a default"),
        ("arguments:\n  - name: a\n    required: 1", 4, "an argument's required must be true or false"),
        ("arguments:\n  - name: a\n    description: 1", 4, "an argument's description must be text"),
        ("arguments: [" + ", ".join(f"a{n}" for n in range(21)) + "]", 2, "there are 21 arguments; at most 20"),
        ("output: 4", 2, "output must be a JSON Schema"),
        ("output:\n  type: object\n  properties:\n    a: {$ref: '#'}", 5, "output.properties.a has the keyword '$ref'"),
    ],
)
def test_a_front_matter_that_cannot_be_used_says_where_and_why(front: str, line: int | None, words: str) -> None:
    message = fault(f"---\n{front}\n---\nDo it.\n")
    assert message.startswith(f"x.md:{line}: " if line else "x.md: ")
    assert words in message


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("$1", "x.md:2: the text has neither $2 nor $ARGUMENTS, so 'b' would be lost"),
        ("$1 $2 $3", "x.md:2: the text has $3, which would stay empty: only 2 are declared"),
        ("$ARGUMENTS $100", "x.md:2: the text has $100, which would stay empty"),
    ],
)
def test_what_is_declared_and_what_the_text_has_agree(template: str, words: str) -> None:
    assert fault(f"---\narguments: [a, b]\n---\n{template}\n").startswith(words)
    for fine in ("$2 $1", "$1 $ARGUMENTS", "$ARGUMENTS", "No place.", "$0 $1 $2"):
        assert len(parse("arguments: [a, b]", fine).arguments) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"---\nagent: plan\nDo it.", "x.md:1: '---' opens a front matter here that no later line '---' closes"),
        (b"---", "x.md:1: '---' opens a front matter"),
        (b"---js\nprocess.exit()\n---\nDo it.", "x.md:1: the front matter must be YAML"),
        (b"---\nagent: plan\n---\n \n", "x.md: the command has no text"),
        (b"", "x.md: the command has no text"),
        (b"\n\n\xff", "x.md:3: byte 2 is not UTF-8"),
        (b"\xff\xfeD\0o\0", "x.md:1: byte 0 is not UTF-8"),
        (b"Do\nit\0.", "x.md:2: there is a NUL"),
        (b"---\na: \0\n---\nDo it.", "x.md:2: there is a NUL"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(content: bytes, words: str) -> None:
    assert fault(content).startswith(words)


@pytest.mark.parametrize(
    "name", ["../do", "a b", ".hidden", "a/../b", "a//b", "/a", "a/", "", "é", "a\n", "-x", "x" * 65, "a\udcff"]
)
def test_a_name_that_is_no_tools_is_refused(name: str) -> None:
    assert "no name for a command" in fault(b"Do it.", name)


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
SIZE = 64 * 1024 - 100


@pytest.mark.parametrize(
    "head",
    [
        BOMB,
        "[" * SIZE,
        "{a: " * (SIZE // 4),
        "[[]," * (SIZE // 4),
        "- " * (SIZE // 2),
        "? " * (SIZE // 2),
        "".join(f"{' ' * n}a:\n" for n in range(350)),
        "x: 1\n" * (SIZE // 5),
        "".join(f"k{n}: 1\n" for n in range(SIZE // 9)),
        "[" + "a," * (SIZE // 2 - 2) + "]",
        'a: "' + "\\n" * (SIZE // 2) + "\n",
        "a: " + "x " * (SIZE // 2) + "\n: :",
        "a:\n" + "  x\n" * (SIZE // 4) + ": : :",
        "a: |\n" + "\n" * SIZE + "\t:",
        "a" + " " * SIZE + "\n::",
        "#\n" * (SIZE // 2) + "*",
        "%YAML 1.1\n" * (SIZE // 10),
        "!" * SIZE,
        "timeout: " + "1" * SIZE,
    ],
    ids=lambda head: head[:12].encode("unicode_escape").decode(),
)
def test_a_head_that_was_made_to_hold_us_up_is_refused_in_time(head: str) -> None:
    assert fault(f"---\n{head}\n---\nDo it.\n").startswith("x.md:")


@given(st.text(max_size=300), st.text(alphabet="-:&*!?|>'\"[]{}#%@`, \t\nab1", max_size=60))
def test_whatever_a_file_holds_it_gives_a_command_or_a_reason(text: str, head: str) -> None:
    for content in (text, f"---\n{text}\n---\nDo it.", f"---\n{head}\n---\nDo it."):
        try:
            parse_command("do", content.encode("utf-8", "replace"), source="x.md")
        except CommandError as error:
            assert str(error).startswith("x.md:")  # noqa: PT017 - both ways out are right


def test_a_fault_is_a_configuration_error_that_can_be_sent_on() -> None:
    error = CommandError("it is too long", "a/x.md", 3)
    assert isinstance(error, SandboxConfigError)
    for same in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (same.reason, same.path, same.line, str(same)) == (
            "it is too long",
            "a/x.md",
            3,
            "a/x.md:3: it is too long",
        )


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_folders_are_read_in_order_and_faults_keep_nobody_else_out(tmp_path: Path) -> None:
    own = write(
        tmp_path / "own",
        {
            "do.md": "Ours.",
            "team/deploy.md": "Deploy.",
            "folder.md/inner.md": "Inner.",
            "notes.txt": "No command.",
            "UPPER.MD": "No command.",
            "broken.md": "---\n",
            "binary.md": b"\xff\xfe",
            "big.md": b"x" * 100_000,
            "bomb.md": f"---\n{BOMB}---\nDo it.",
            "head.md": "---\n" + "a: b\n" * 200_000 + "---\nDo it.",
            "..md": "Hidden.",
            "a b.md": "Spaced.",
        },
    )
    other = write(tmp_path / "other", {"do.md": "Theirs.", "more.md": "More.", "broken.md": "Never in its stead."})
    (own / "link.md").symlink_to("/etc/passwd")
    (own / "loop.md").symlink_to("loop.md")
    (own / "away").symlink_to(other)
    os.mkfifo(own / "fifo.md")
    write(own, {os.fsdecode(b"\xff\x1b/x.md"): "Do it."})
    with within_two_seconds():
        commands, faults = load_commands([own, other, tmp_path / "absent", own / "do.md"])
    assert {name: found.template for name, found in commands.items()} == {
        "do": "Ours.",
        "folder.md/inner": "Inner.",
        "more": "More.",
        "team/deploy": "Deploy.",
    }
    names = {Path(fault.path).relative_to(own).as_posix() for fault in faults}
    assert names == {
        *("broken.md", "binary.md", "big.md", "bomb.md", "head.md", "link.md", "loop.md", "fifo.md", "..md", "a b.md"),
        "\\xff\\x1b/x.md",
    }
    assert "".join(map(str, faults)).isprintable()
    reasons = {Path(fault.path).name: fault.reason for fault in faults}
    assert "it is a link" in reasons["link.md"]
    assert (
        reasons["fifo.md"]
        == reasons["big.md"]
        == reasons["head.md"]
        == "a command is a plain file of at most 65536 bytes"
    )


@pytest.mark.parametrize("depth", [4, 5])
def test_folders_are_read_so_deep_and_no_deeper(tmp_path: Path, depth: int) -> None:
    write(tmp_path, {"x.md": "Do it.", "/".join(["a"] * depth) + "/x.md": "Do it."})
    commands, faults = load_commands([tmp_path])
    assert (len(commands), [fault.path for fault in faults]) == ((2, []) if depth == 4 else (0, [str(tmp_path)]))


@pytest.mark.parametrize("count", [200, 201])
def test_so_many_files_are_read_and_no_more(tmp_path: Path, count: int) -> None:
    write(tmp_path, {f"x{number}.md": "Do it." for number in range(count)})
    commands, faults = load_commands([tmp_path])
    assert (len(commands), len(faults)) == ((200, 0) if count == 200 else (0, 1))


def test_a_folder_that_was_made_to_hold_us_up_does_not(tmp_path: Path) -> None:
    slow = "---\n" + "".join(f"k{number}: b: 1\n" for number in range(4000)) + "---\nDo it."
    write(tmp_path, {"a.md": "Do it.", **{f"x{number}.md": slow for number in range(199)}})
    with within_two_seconds():
        commands, faults = load_commands([tmp_path])
    assert (list(commands), len(faults)) == (["a"], 199)
    assert "there are more than 2000 values" in faults[0].reason
    assert faults[-1].reason == "this was not read: the files before it took 1 s"


def test_two_files_of_a_repository_that_would_be_one_tool_are_both_refused(tmp_path: Path) -> None:
    write(
        tmp_path / ".opencode",
        {
            "commands/do.md": "One way.",
            "command/do.md": "Another.",
            "commands/team/deploy.md": "One way.",
            "command/team-deploy.md": "Another.",
            "commands/team.deploy.md": "A third.",
            "commands/fine.md": "Fine.",
            "command/git-commit.md": "---\ntimeout: no\n---\nMine.",
            "commands/git.commit.md": "Mine, too.",
        },
    )
    commands, faults = load_repository_commands(tmp_path)
    assert set(commands) == {"fine", "refactor-audit", "code-review", "write-tests", "fix-tests"}
    told = {Path(fault.path).relative_to(tmp_path / ".opencode").as_posix(): fault.reason for fault in faults}
    assert set(told) == {
        *("commands/do.md", "command/do.md", "commands/team/deploy.md", "command/team-deploy.md"),
        *("commands/team.deploy.md", "command/git-commit.md", "commands/git.commit.md"),
    }
    assert "'do' would be its name as a tool" in told["commands/do.md"]
    assert "command/do.md too" in told["commands/do.md"]
    assert "git-commit.md too" in told["commands/git.commit.md"]


def test_a_repositorys_own_come_first_then_others_then_ours(tmp_path: Path) -> None:
    root = write(tmp_path / "root/.opencode/command", {"a.md": "Root.", "git-commit.md": "Root."}).parent.parent
    extra = write(tmp_path / "extra", {"a.md": "Extra.", "b.md": "Extra.", "write-tests.md": "Extra."})
    last = write(tmp_path / "last", {"b.md": "Last."})
    commands, faults = load_repository_commands(root, extra=[extra, last])
    assert faults == []
    found: dict[str, Any] = {name: found.template for name, found in commands.items()}
    assert [found[name] for name in ("a", "b", "git-commit", "write-tests")] == ["Root.", "Extra.", "Root.", "Extra."]
    assert "refactor-audit" in found
    assert commands["a"].source == str(root / ".opencode/command/a.md")
    assert "a" not in load_repository_commands(None)[0]


@pytest.mark.parametrize("link", [".opencode", ".opencode/commands"])
def test_a_repositorys_commands_are_not_read_through_a_link(tmp_path: Path, link: str) -> None:
    secret = write(tmp_path / "secret", {"do.md": "Secret.", "commands/do.md": "Secret."})
    root = tmp_path / "root"
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(secret)
    commands, faults = load_repository_commands(root)
    assert "do" not in commands
    assert [fault.path for fault in faults] == [str(root / ".opencode/commands")]
    assert load_repository_commands(None, extra=[root / link])[0]["do"].template == "Secret."


def test_below_a_repositorys_top_its_commands_count_after_the_folders_own(tmp_path: Path) -> None:
    below = tmp_path / "repository" / "services" / "shop"
    for folder, name, text in (
        (tmp_path / "repository", "deploy.md", "All of it."),
        (tmp_path / "repository", "check.md", "Check all."),
        (below, "deploy.md", "The shop."),
        (tmp_path, "outside.md", "Somebody else's."),
    ):
        (folder / ".opencode/commands").mkdir(parents=True, exist_ok=True)
        (folder / ".opencode/commands" / name).write_text(text)
    (tmp_path / "repository/.git").mkdir()
    commands, faults = load_repository_commands(below)
    assert faults == []
    assert (commands["deploy"].template, commands["check"].template) == ("The shop.", "Check all.")
    assert "outside" not in commands
