"""The lock on the mounted workspace: one at a time, for a while, and where there is any."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from langchain_sandbox.compose.mount import locked
from langchain_sandbox.errors import SandboxApplyError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_lock_that_is_never_let_go_is_not_waited_for_for_ever(workspace: Path) -> None:
    other = os.open(workspace, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(SandboxApplyError, match=r"lock for 0\.1 s"), locked(0.1):
        pytest.fail("two at once")
    os.close(other)
    with locked(0.1):
        pass


@pytest.mark.parametrize("number", [errno.EBADF, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_that_knows_no_such_lock_can_be_worked_on(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number), descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(0.1):
        pass
