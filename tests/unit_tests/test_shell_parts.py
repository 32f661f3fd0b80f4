"""What a shell asks for, and what it makes of the answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from langchain_sandbox import CommandResult, SandboxConfigError, SandboxError, Shell, Workspace
from langchain_sandbox.executions import _Pending, parse_exit
from langchain_sandbox.integrations.deepagents.files import build_download, build_upload, check_path, parse_failure
from langchain_sandbox.orders import MAX_COMMAND, MAX_INPUT, build_order

_NOTHING: dict[str, Any] = {"stdin": None, "cwd": None, "timeout": None, "output_limit": 10}


def test_text_is_for_bash_and_words_are_a_program() -> None:
    order = build_order("echo 'a b'", **_NOTHING)
    assert (order.command, order.cwd, order.title) == (("bash", "-c", "echo 'a b'"), "", "echo 'a b'")
    order = build_order(["echo", "a b"], **_NOTHING | {"cwd": "src"})
    assert (order.command, order.cwd, order.title) == (("echo", "a b"), "src", "echo 'a b'")
    assert build_order("ls", **_NOTHING | {"stdin": b""}).describe() == {
        "type": "exec",
        "command": ["bash", "-c", "ls"],
        "cwd": "",
        "timeout": None,
        "limit": 10,
        "stdin": True,
    }


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ([], {}, "A command is text for bash, or a program and its arguments"),
        ("x" * (MAX_COMMAND + 1), {}, "A command may have"),
        (["x" * MAX_COMMAND, "y"], {}, "A command may have"),
        (["ls", 1], {}, "A command is text for bash, or a program and its arguments"),
        ("a\0b", {}, "cannot hold a NUL"),
        ("ls", {"cwd": "\0"}, "cannot hold a NUL"),
        ("ls", {"timeout": 0}, "timeout is a positive number"),
        ("ls", {"output_limit": -1}, "output_limit is a number of bytes"),
        ("ls", {"output_limit": True}, "output_limit is a number of bytes"),
        ("cat", {"stdin": bytes(MAX_INPUT + 1)}, "may be given"),
    ],
)
def test_what_cannot_work_is_refused_before_it_is_sent(command: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SandboxConfigError, match=words):
        build_order(command, **_NOTHING | options)


def test_a_shell_needs_no_model_and_checks_its_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("SANDBOX_"):
            monkeypatch.delenv(name)
    assert Shell().workspace is None
    monkeypatch.setenv("SANDBOX_WORKSPACE", str(tmp_path))
    assert Shell().workspace == Workspace(tmp_path)
    with pytest.raises(SandboxConfigError, match="timeout"):
        Shell(timeout=-1)
    with pytest.raises(SandboxConfigError, match="changes='return' cannot be"):
        Shell(workspace=Workspace(tmp_path, mode="bind"), changes="return")
    shell = Shell()
    shell.close()  # there is nothing yet
    for use in (lambda: shell.execute("true"), shell.finish):
        with pytest.raises(SandboxError, match="The shell is closed"):
            use()


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_workspace_that_is_no_folder_is_called_so(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxConfigError, match=f"{name} is not a folder"):
        _ = Shell(workspace=tmp_path / name).root


@pytest.mark.parametrize(
    ("body", "code", "timed_out", "truncated"),
    [
        ({"code": 0, "timed_out": False, "truncated": True}, 0, False, True),
        ({"code": 124, "timed_out": True}, 124, True, False),
        ({}, 126, False, False),
        ({"code": "0", "timed_out": 1, "truncated": "yes"}, 126, False, False),
        ({"code": True}, 126, False, False),
        ({"code": 10**30}, 126, False, False),
        ({"code": -1}, 126, False, False),
    ],
)
def test_an_exit_is_what_can_be_made_out(body: dict[str, Any], code: int, timed_out: bool, truncated: bool) -> None:  # noqa: FBT001
    result = parse_exit(body, output=b"\xffx", seconds=1.23456)
    assert (result.exit_code, result.timed_out, result.truncated) == (code, timed_out, truncated)
    assert (result.text, result.seconds, result.ok) == ("\ufffdx", 1.2346, code == 0)


def test_more_than_was_wanted_is_truncated_whatever_the_container_says() -> None:
    pending = _Pending(room=3)
    pending.take(b"ab")
    assert not pending.cut
    pending.take(b"cd")
    assert (bytes(pending.output), pending.cut) == (b"abc", True)
    assert parse_exit({"code": 0, "truncated": False}, output=b"abc", seconds=0, cut=pending.cut).truncated


def test_a_command_that_was_not_started_has_the_reason_for_its_output() -> None:
    assert parse_exit({"reason": "no room"}, output=b"", seconds=0).text == "no room"


def copy(command: tuple[str, ...], content: bytes = b"") -> CommandResult:
    done = subprocess.run([sys.executable, *command[1:]], input=content, capture_output=True, timeout=20, check=False)
    return CommandResult(output=done.stdout, exit_code=done.returncode)


def test_a_file_goes_there_and_back(tmp_path: Path) -> None:
    path, content = str(tmp_path / "a" / "b"), os.urandom(300_000)
    assert copy(build_upload(path), content).ok
    assert copy(build_upload(path), content[:200_000]).ok
    assert copy(build_download(path, limit=200_000)).output == content[:200_000]
    assert copy(build_download(path, limit=10)).output == content[:11]
    os.truncate(path, 10**12)
    assert len(copy(build_download(path, limit=10**6)).output) == 10**6 + 1


def test_what_is_no_file_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "plain").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    faults = {"loop": "invalid_path", "endless": "invalid_path", "pipe": "invalid_path", "plain/x": "invalid_path"}
    for name, fault in {**faults, "folder": "is_directory"}.items():
        assert parse_failure(copy(build_download(str(tmp_path / name), limit=9))) == fault, name
        assert parse_failure(copy(build_upload(str(tmp_path / name)))) == fault, name
    assert parse_failure(copy(build_download(str(tmp_path / "absent"), limit=9))) == "file_not_found"


def test_faults_of_a_copy_in_words() -> None:
    assert check_path("a") == check_path("/a/") == check_path("/a\0b") == check_path("") == "invalid_path"
    assert check_path("/a") is None
    assert parse_failure(CommandResult(output=b"", exit_code=0)) is None
    assert parse_failure(CommandResult(output=b"No space left\n", exit_code=1)) == "No space left"
    assert parse_failure(CommandResult(output=b"", exit_code=137)) == "the copy ended with 137"
    assert "longer than the 5 s" in str(
        parse_failure(CommandResult(output=b"", exit_code=124, timed_out=True, seconds=5))
    )
    assert "more than the 3 bytes" in str(parse_failure(CommandResult(output=b"abc", exit_code=0, truncated=True)))


def test_a_process_that_is_forgotten_leaves_nothing(tmp_path: Path) -> None:
    """What is remembered of a number would be taken for the next process of that number."""
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from langchain_sandbox.agent import children
children.start_reaper()
for code in range(5):
    child = children.spawn([sys.executable, "-c", f"raise SystemExit({{code}})"], cwd={str(tmp_path)!r}, env={{}})
    ended = children.watch(child)
    assert os.read(ended, 1) == b""
    assert children.wait(child) == code
    children.forget(child)
assert not children._exits and not children._ours and not children._watched
print("done")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("done\n", "")
