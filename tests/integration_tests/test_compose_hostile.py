"""The seed's way with somebody hostile inside: a repository that lays traps, and an agent that tries the walls."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from support import bash, git, say, told

from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from pathlib import Path

    from compose_checkout import Open


@pytest.mark.parametrize("mode", ["copy", "direct"])
def test_the_gateway_is_out_of_the_agents_reach(checkout: Open, mode: str) -> None:
    """A connection of the agent's own would be another run to it, with a budget of its own."""
    connect = (
        "exec 2>&1;"  # in the order in which it happens
        "gateway=/host/gateway/llm/link.sock;"
        "for path in /run/llm/link.sock $gateway /proc/1/root$gateway; do "
        "python3 -c 'import socket, sys; socket.socket(1).connect(sys.argv[1])' $path 2>&1 | tail -n 1; done;"
        "ls /host/gateway; ls /proc/1/fd"
    )
    with ScriptedModel([bash(connect), say()]) as model:
        done = checkout(model.endpoint.base_url).run("Connect.", WORKSPACE_MODE=mode)
        (output,) = told(model)
    assert done.result.ok
    lines = output.splitlines()
    assert lines[0].startswith("FileNotFoundError")
    assert [line.partition(":")[0] for line in lines[1:3]] == ["PermissionError"] * 2
    assert [line.rpartition(": ")[2] for line in lines[3:]] == ["Permission denied"] * 2


def test_what_the_agent_does_to_its_home_does_not_touch_the_result(checkout: Open) -> None:
    spoil = (
        "printf '[broken' > ~/.gitconfig; mkdir -p ~/.config/git; echo '* -diff' > ~/.config/git/attributes;"
        "echo new > notes.txt"
    )
    with ScriptedModel([bash(spoil), say()]) as model:
        place = checkout(model.endpoint.base_url)
        place.workspace.mkdir()
        (place.workspace / "notes.txt").write_text("old\n")
        done = place.run("Write.")
    assert done.code == 0
    assert "-old\n+new\n" in str(done.result.patch)
    assert (place.workspace / "notes.txt").read_text() == "new\n"


def test_a_repository_without_a_git_folder_does_not_come_back(checkout: Open, tmp_path: Path) -> None:
    """Git takes any folder with HEAD, objects and refs for a repository, and runs what its config says."""
    trap = tmp_path / "sprung"
    plant = (
        "mkdir objects refs; touch objects/x refs/x; printf 'ref: refs/heads/x\\n' > HEAD; echo new > new.txt;"
        f"printf '[core]\\nrepositoryformatversion=0\\nbare=false\\nworktree=.\\nfsmonitor=touch {trap}\\n' > config"
    )
    with ScriptedModel([bash(plant), say()]) as model:
        place = checkout(model.endpoint.base_url)
        done = place.run("Write.")
        with suppress(subprocess.CalledProcessError):  # it is no repository, or one of somebody else's
            git(place.workspace, "-c", "safe.directory=*", "status")
    assert not trap.exists()
    assert done.code == 0
    assert [path.name for path in place.workspace.iterdir()] == ["new.txt"]
    assert len([text for text in done.result.warnings if "git would take its folder for a repository" in text]) == 4


def test_a_full_disk_costs_what_filled_it_and_no_more(checkout: Open) -> None:
    with ScriptedModel([bash("echo new > new.txt; cat /dev/zero > big"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        done = place.run("Write.", WORKSPACE_TMPFS="64m", SANDBOX_LIMIT_CHANGES="16m")
    assert done.code == 0
    assert [file.path for file in done.result.files] == ["new.txt"]
    assert [text for text in done.result.warnings if "'big': over the limit for changes" in text]
    assert [path.name for path in place.workspace.iterdir()] == ["new.txt"]


def test_where_the_changes_cannot_be_kept_that_is_the_ending(checkout: Open) -> None:
    with ScriptedModel([bash("seq 1000000 > new.txt; cat /dev/zero > /run/own/big; echo so"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        done = place.run("Write.", WORKSPACE_TMPFS="64m")
    assert (done.code, done.result.status) == (5, "out_of_space")
    assert "/run/own" in done.result.ending.message
    assert not done.result.applied
    assert list(place.workspace.iterdir()) == []


def test_a_plugin_behind_a_link_does_not_run(checkout: Open) -> None:
    with ScriptedModel([bash("ls -a; ls /tmp"), say()]) as model:
        place = checkout(model.endpoint.base_url)
        plugin = place.workspace / "innocent/plugin/trap.js"
        plugin.parent.mkdir(parents=True)
        plugin.write_text("require('fs').writeFileSync('/tmp/sprung', ''); export const Trap = async () => ({})\n")
        (place.workspace / ".opencode").symlink_to("innocent")
        done = place.run("Look.")
        (output,) = told(model)
    assert done.result.ok
    assert "innocent" in output
    assert ".opencode" not in output
    assert "sprung" not in output
    assert done.result.warnings == ["Left out on the way in: .opencode: would configure OpenCode itself"]
    assert (place.workspace / ".opencode").is_symlink()


def test_the_agent_can_neither_end_pid_1_nor_slow_it_down(checkout: Open) -> None:
    attack = (
        "for number in $(seq 64); do kill -$number 1; done; for task in /proc/1/task/*; do kill ${task##*/}; done;"
        "prlimit --pid 1 --cpu=1:1; chrt --idle --pid 0 1; renice 19 1; trap 'echo trapped' TERM; kill $$;"
        "prlimit --cpu=100; nice true; echo done > done.txt"
    )
    with ScriptedModel([bash(attack), say()]) as model:
        done = checkout(model.endpoint.base_url).run("Try.")
        (output,) = told(model)
    assert (done.code, done.result.status) == (0, "completed")
    assert [file.path for file in done.result.files] == ["done.txt"]
    assert output.count("kill: (1) - Operation not permitted") == 64 + 1  # each signal, and its first thread by number
    assert output.count("Operation not permitted") == 64 + 1 + 3
    assert "trapped" in output
