"""The command `run` on a real terminal: what is on the screen, what keys do, and how it is left."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import docker
import pytest
from screen import Screen
from support import bash, containers, git, say, wait_until, write

from langchain_sandbox.kept_runs import list_runs
from langchain_sandbox.testing import ScriptedModel

WRITES = write("new.txt", "hello\n")
HOOK = write(".husky/pre-commit", "make\n")
ANSWER = say("It is [bold]written[/bold] \x1b[2J\x1b]0;owned\x07now.")
STATUS = r"^  \d+:\d\d of \d+:\d\d"


def start(model: ScriptedModel, *arguments: str, cwd: Path, columns: int = 100, **environment: str) -> Screen:
    command = [sys.executable, "-m", "langchain_sandbox", "run", *arguments]
    url = {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url}
    return Screen(command, cwd=cwd, columns=columns, environment=url | environment)


def test_a_status_stays_below_the_log_and_goes_when_the_run_is_over(repository: Path) -> None:
    script = [bash("sleep 3; echo '[red]done[/red]'"), WRITES, ANSWER]
    with ScriptedModel(script) as model, start(model, "Write it.", cwd=repository) as screen:
        status = r"-> bash: sleep 3.*\n. bash: sleep 3.*\n  0:\d\d of 5:00 · [\d,]+ tokens in"
        screen.wait_for_count(status, exactly=1)
        assert screen.cursor_hidden
        assert screen.wait() == 0
    assert not re.search(STATUS, screen.text, re.MULTILINE)
    assert not screen.cursor_hidden
    assert "<- completed: [red]done[/red]" in screen.text
    assert screen.text.count("It is [bold]written[/bold] [2J]0;ownednow.") == 1
    assert "✓ completed in" in screen.text
    assert b"\x1b[32m+hello\x1b[0m" in screen.raw
    assert b"\x1b]0;" not in screen.raw


def test_a_narrow_window_that_becomes_narrower_holds_the_status(repository: Path) -> None:
    script = [bash(f"sleep 4 # {'long ' * 30}"), say()]
    with ScriptedModel(script) as model, start(model, "Work.", cwd=repository, columns=40) as screen:
        screen.wait_for("bash: sleep 4")
        screen.wait_for_count(STATUS, exactly=1)
        screen.resize(columns=24, lines=12)
        seen = len(screen.raw)
        while len(screen.raw) < seen + 2000:
            assert screen.read()
        screen.wait_for_count(STATUS, exactly=1)
        assert screen.wait() == 0
    assert not re.search(STATUS, screen.text, re.MULTILINE)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_terminals_that_can_do_less_and_users_who_want_less_get_less(
    repository: Path, environment: dict[str, str]
) -> None:
    script = [WRITES, ANSWER]
    with ScriptedModel(script) as model, start(model, "Write it.", cwd=repository, **environment) as screen:
        assert screen.wait() == 0
    painted = re.findall(rb"\x1b\[[\d;]*m", screen.raw)
    if "TERM" in environment:
        assert b"\x1b" not in screen.raw
    else:
        assert not [codes for codes in painted if re.search(rb"[\[;](3|4|9|10)\d", codes)]
    assert "+hello" in screen.text


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_ctrl_c_says_what_was_kept(
    repository: Path, client: docker.DockerClient, number: signal.Signals | None
) -> None:
    with ScriptedModel([WRITES, bash("sleep 600")]) as model, start(model, "Work.", cwd=repository) as screen:
        screen.wait_for("bash: sleep 600")
        screen.type("\x03") if number is None else screen.send(number)
        assert screen.wait() == 130
    assert containers(client) == []
    assert not screen.cursor_hidden
    assert "Traceback" not in screen.text
    assert "✗ cancelled in" in screen.text
    assert re.search(r"To apply it: langchain-sandbox apply [0-9a-f]{12}", screen.text)


def test_a_second_ctrl_c_leaves_at_once(repository: Path, client: docker.DockerClient) -> None:
    with ScriptedModel([WRITES, bash("sleep 600")]) as model, start(model, "Work.", cwd=repository) as screen:
        screen.wait_for("bash: sleep 600")
        screen.type("\x03")
        screen.type("\x03")
        assert screen.wait() == 130
        assert not screen.cursor_hidden
        assert "Traceback" not in screen.text
        assert "Left at once" in screen.text
        wait_until(lambda: containers(client) == [], 10)


def test_a_terminal_that_is_closed_ends_the_run(repository: Path, client: docker.DockerClient) -> None:
    with ScriptedModel([WRITES, bash("sleep 600")]) as model, start(model, "Work.", cwd=repository) as screen:
        screen.wait_for("bash: sleep 600")
        screen.hang_up()
    assert containers(client) == []
    (kept,) = list_runs()
    assert kept.status == "cancelled"
    assert "+hello" in kept.patch_text()


def test_a_review_that_is_answered_with_apply_changes_the_folder(repository: Path) -> None:
    with ScriptedModel([WRITES, ANSWER]) as model, start(model, "Write it.", "--review", cwd=repository) as screen:
        screen.wait_for("[s]how again")
        screen.type("s\n")
        screen.wait_for("+hello")
        screen.wait_for_count(r"\[s\]how again", exactly=2)
        assert screen.text.count("+hello") == 2
        assert git(repository, "status", "--porcelain") == ""
        screen.type("what?\n")
        screen.type("a\n")
        assert screen.wait() == 0
    assert (repository / "new.txt").read_text() == "hello\n"
    assert re.search(r"To take it back: langchain-sandbox revert [0-9a-f]{12}", screen.text)


@pytest.mark.parametrize("keys", ["k\n", "\n", "\x04", "\x03"], ids=["keep", "return", "ctrl-d", "ctrl-c"])
def test_a_review_that_is_answered_with_anything_less_keeps_the_patch(repository: Path, keys: str) -> None:
    with ScriptedModel([WRITES, ANSWER]) as model, start(model, "Write it.", "--review", cwd=repository) as screen:
        screen.wait_for("[s]how again")
        screen.type(keys)
        assert screen.wait() == 0, screen.text
    assert git(repository, "status", "--porcelain") == ""
    assert "Traceback" not in screen.text
    assert "Kept; nothing was touched." in screen.text
    assert re.search(r"To apply it: langchain-sandbox apply [0-9a-f]{12}", screen.text)


@pytest.mark.parametrize(("second", "applied"), [("y\n", True), ("n\n", False)])
def test_a_review_asks_once_more_about_what_reaches_further(repository: Path, second: str, *, applied: bool) -> None:
    with (
        ScriptedModel([WRITES, HOOK, ANSWER]) as model,
        start(model, "Write it.", "--review", cwd=repository) as screen,
    ):
        screen.wait_for("[s]how again")
        screen.type("a\n")
        screen.wait_for("Apply them too? [y/N]")
        assert ".husky/pre-commit runs when you commit or push" in screen.text
        screen.type(second)
        assert screen.wait() == 0
    assert (repository / "new.txt").exists() is applied
    assert (repository / ".husky/pre-commit").exists() is applied
