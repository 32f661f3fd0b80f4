"""Only what a process that is known to be gone has left may be removed."""

import os
import subprocess
import sys

import pytest

from langchain_sandbox.engine.owner import current_owner, is_dead

RENAMED = r"open('/proc/self/comm', 'wb').write(b'\xff) ('); "
TELL = "from langchain_sandbox.engine.owner import current_owner; print(current_owner(), flush=True); input()"


def split(owner: str) -> tuple[str, str, str]:
    host, pid, started = owner.rsplit("/", 2)
    return host, pid, started


def test_this_process_is_alive_and_is_named_by_its_pid() -> None:
    owner = current_owner()
    assert not is_dead(owner)
    assert split(owner)[1] == str(os.getpid())
    assert split(owner)[2]
    assert current_owner() == owner


def test_another_process_is_alive_until_it_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        owner = child.stdout.readline().strip()
        assert split(owner)[1] == str(child.pid)
        assert not is_dead(owner)
        child.kill()
        child.wait()
        assert is_dead(owner)


def test_a_process_that_gave_itself_a_name_of_any_bytes_is_known_as_well() -> None:
    command = [sys.executable, "-c", RENAMED + TELL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        owner = child.stdout.readline().strip()
        host, pid, started = split(owner)
        assert not is_dead(owner)
        assert is_dead(f"{host}/{pid}/{started}1")
        child.kill()


def test_a_forked_child_is_somebody_else() -> None:
    mine = current_owner()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, current_owner().encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as file:
        theirs = file.read()
    assert theirs != mine
    assert split(theirs)[:2] == (split(mine)[0], str(child))
    assert is_dead(theirs)


def test_a_pid_that_somebody_else_has_now_is_dead() -> None:
    host, pid, started = split(current_owner())
    assert is_dead(f"{host}/{pid}/{started}1")
    assert is_dead(f"{host}/{pid}/0")


def test_a_pid_that_nobody_has_is_dead() -> None:
    host, _, started = split(current_owner())
    assert is_dead(f"{host}/{2**22 + 1}/{started}")


@pytest.mark.parametrize("host", ["other-boot/pid:[4026531836]", "elsewhere", ""])
def test_nothing_is_known_of_another_machines_processes(host: str) -> None:
    _, _, started = split(current_owner())
    assert not is_dead(f"{host}/{2**22 + 1}/{started}")


@pytest.mark.parametrize(
    "owner", ["", "/", "//", "garbage", "a/b", "a/b/c", "host/pid/started", "host/1.5/1", "\0/1/2"]
)
def test_garbage_is_nobody_that_is_known_to_be_dead(owner: str) -> None:
    assert not is_dead(owner)


@pytest.mark.parametrize("pid", ["", "x", "1.5", "1/2", "9" * 5000])
def test_a_pid_that_is_no_number_is_not_known_to_be_dead(pid: str) -> None:
    host, _, started = split(current_owner())
    assert not is_dead(f"{host}/{pid}/{started}")
