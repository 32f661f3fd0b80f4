"""Scratch repositories: private, and swept when their process was killed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from langchain_sandbox.engine.scratch import make_scratch, sweep_scratch
from langchain_sandbox.workspace.git import scratch_git, scratch_repository

KILLED = """
import os, signal
from langchain_sandbox.workspace.git import scratch_repository
with scratch_repository() as folder:
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_scratch_repository_is_one_and_goes_away() -> None:
    with scratch_repository() as folder:
        assert scratch_git(folder, "rev-parse", "--is-bare-repository") == b"true\n"
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_a_disk_without_room_keeps_no_half_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_text(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(OSError, match="No space left"):
        make_scratch()
    assert list(tmp_path.iterdir()) == []


def test_only_what_killed_processes_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    left = Path(done.stdout.strip())
    other = tmp_path / "langchain-sandbox-somebodys"
    other.mkdir()
    assert left.parent == tmp_path
    assert left.is_dir()
    with scratch_repository() as mine:
        sweep_scratch()
        assert mine.is_dir()
    assert not left.exists()
    assert other.is_dir()


def test_a_folder_whose_maker_was_killed_before_it_said_so_is_swept_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = ("bare", "begun", "full", "young")
    bare, begun, full, young = (tmp_path / f"langchain-sandbox-{name}" for name in names)
    for folder in (bare, begun, full, young):
        folder.mkdir()
    (begun / ".owner").touch()
    (full / "somebodys").touch()
    for folder in (bare, begun, full):
        os.utime(folder, (time.time() - 120,) * 2)
    assert set(sweep_scratch()) == {bare, begun}
    assert sorted(tmp_path.iterdir()) == [full, young]
    assert (full / "somebodys").exists()
