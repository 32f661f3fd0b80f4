"""Files of ours among the agent's, whatever it has left in their places."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from copies import stand_in
from repositories import forget_settings, git

from langchain_sandbox.agent.anew import create_anew, make_folders, write_anew
from langchain_sandbox.agent.repository import make_git_folders, make_repository, point_head, remove_locks

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)  # a pipe that is opened as a file holds its opener for ever


@pytest.fixture(params=["nothing", "file", "pipe", "link", "folder"])
def obstacle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What may stand in a file's place."""
    place = tmp_path / "root/d/file"
    place.parent.mkdir(parents=True)
    match request.param:
        case "file":
            place.write_text("old")
        case "pipe":
            os.mkfifo(place)
        case "link":
            (tmp_path / "outside").write_text("outside")
            place.symlink_to(tmp_path / "outside")
        case "folder":
            (place / "deep").mkdir(parents=True)
            (place / "deep/file").write_text("old")
    return place


def list_names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_is_written_in_place_of_anything(obstacle: Path, tmp_path: Path) -> None:
    with write_anew(str(tmp_path / "root"), "d/file") as file:
        file.write(b"new")
    assert not obstacle.is_symlink()
    assert (obstacle.read_bytes(), list_names(obstacle.parent)) == (b"new", ["file"])
    if (tmp_path / "outside").exists():
        assert (tmp_path / "outside").read_text() == "outside"


def test_a_file_is_created_in_place_of_anything(obstacle: Path, tmp_path: Path) -> None:
    create_anew(str(tmp_path / "root"), "d/file", b"new")
    assert not obstacle.is_symlink()
    assert (obstacle.read_bytes(), list_names(obstacle.parent)) == (b"new", ["file"])


def test_what_is_there_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    def fail() -> None:
        with write_anew(str(tmp_path), "file") as file:
            file.write(b"half")
            msg = "disk is full"
            raise OSError(msg)

    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="disk is full"):
        fail()
    assert (list_names(tmp_path), (tmp_path / "file").read_text()) == (["file"], "old")


def test_folders_are_made_in_place_of_files_and_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/a").symlink_to(tmp_path / "elsewhere")
    make_folders(str(tmp_path / "root"), "a/b")
    (tmp_path / "root/a/b").rmdir()
    (tmp_path / "root/a/b").write_text("a file")
    make_folders(str(tmp_path / "root"), "a/b/c")
    assert (tmp_path / "root/a/b/c").is_dir()
    assert list_names(tmp_path / "elsewhere") == []


def test_git_is_made_one_again_of_what_was_left_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_settings(monkeypatch, tmp_path / "home")
    place = stand_in(monkeypatch, tmp_path / "inside")
    make_repository("main")
    read_end, write_end = os.pipe()
    (place / ".git/HEAD").unlink()
    (place / ".git/HEAD").symlink_to(f"/proc/self/fd/{write_end}")
    (place / ".git/refs/tags").rmdir()
    (place / ".git/refs/tags").write_text("")
    for name in ("index.lock", "refs/heads/main.lock"):
        (place / ".git" / name).write_text("")
    make_git_folders()
    remove_locks()
    point_head("topic")
    assert git(place, "branch", "--show-current") == "topic\n"
    git(place, "commit", "--quiet", "--allow-empty", "--message=x")
    assert not list((place / ".git").rglob("*.lock"))
    os.set_blocking(read_end, False)
    with pytest.raises(BlockingIOError):
        os.read(read_end, 1)
