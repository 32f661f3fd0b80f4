"""What comes in is in place as a whole, or the run learns why it is not."""

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from copies import Collector, stand_in
from repositories import forget_settings, git

from langchain_sandbox.agent.arrival import Arrival, ArrivalError
from langchain_sandbox.agent.manifest import take_manifest
from langchain_sandbox.link import Channel, Data, End, FileStream, LinkEvent, Reset

GIT: dict[str, Any] = {
    "pack": "",
    "head": None,
    "branch": None,
    "rules": "",
    "settings": {},
    **{name: [] for name in ("shallow", "index", "intended", "deleted", "differing", "filtered", "nested")},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the repository is put down."""
    forget_settings(monkeypatch, tmp_path / "home")
    return stand_in(monkeypatch, tmp_path / "inside")


def pack(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


def data(stream: int, content: bytes) -> Data:
    return Data(Channel.FILES, stream, content)


def end(stream: int) -> End:
    return End(Channel.FILES, stream)


EMPTY = [data(FileStream.TAR, pack()), end(FileStream.TAR)]


def receive(place: Path, *events: LinkEvent, git: dict[str, Any] | None = None, folder: str = "") -> Arrival:
    arrival = Arrival(Collector(), folder=os.path.join(place, folder).rstrip("/"))  # type: ignore[arg-type]  # noqa: PTH118
    arrival.start({"git": git})
    for event in events:
        arrival.on_event(event)
    arrival.wait()
    return arrival


def test_without_any_git_there_is_an_empty_repository_with_the_files(place: Path) -> None:
    archive = pack(**{"a": "a\n", "sub/b": "b\n"})
    pieces = [data(FileStream.TAR, archive[at : at + 100]) for at in range(0, len(archive), 100)]
    arrival = receive(place, *pieces, end(FileStream.TAR))
    assert arrival.complete
    assert (set(arrival.manifest), arrival.bases, arrival.nested, arrival.prefix) == ({"a", "sub/b"}, [], [], "")
    assert git(place, "status", "--porcelain", "--branch") == "## No commits yet on main\n?? a\n?? sub/\n"


def test_a_folder_of_a_repository_is_put_down_in_its_place(place: Path) -> None:
    archive = data(FileStream.TAR, pack(a="a\n"))
    description = GIT | {"branch": "topic", "rules": "*.log\n", "nested": ["inner"]}
    arrival = receive(place, archive, end(FileStream.TAR), git=description, folder="packages/x")
    assert (set(arrival.manifest), arrival.nested, arrival.prefix) == ({"a"}, ["inner"], "packages/x/")
    assert (place / "packages/x/a").read_text() == "a\n"
    assert git(place, "symbolic-ref", "HEAD") == "refs/heads/topic\n"
    assert (place / ".git/info/exclude").read_text() == "*.log\n"


@pytest.mark.parametrize(
    ("events", "described", "said"),
    [
        ([data(FileStream.TAR, b"no archive" * 100), end(FileStream.TAR)], None, "tar ended with 2: "),
        ([data(FileStream.TAR, pack(a="1")[:700]), end(FileStream.TAR)], None, "tar ended with 2: "),
        ([Reset(Channel.FILES, FileStream.TAR, {"reason": "x"})], None, "tar ended with "),
        (
            [*EMPTY, data(FileStream.PACK, b"x"), Reset(Channel.FILES, FileStream.PACK, {"reason": "x"})],
            GIT | {"pack": "pack-1"},
            "came in part only",
        ),
        ([*EMPTY], GIT | {"head": "1" * 40, "branch": "main"}, "git ls-tree"),
        ([*EMPTY], GIT | {"index": ["nonsense"]}, "not enough values"),
        ([*EMPTY], {"pack": ""}, "branch"),
    ],
)
def test_what_comes_in_part_or_broken_is_said(
    events: list[LinkEvent], described: dict[str, Any] | None, said: str, place: Path
) -> None:
    with pytest.raises(ArrivalError, match=said):
        receive(place, *events, git=described)


def test_a_manifest_names_files_and_links_of_any_name_and_no_folder(tmp_path: Path) -> None:
    for name in (b"a", b"caf\xe9", b"deep/er/x", b"sub/.git/x", b".git/config"):
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    (tmp_path / "link").symlink_to("deep")
    (tmp_path / "empty").mkdir()
    manifest = take_manifest(str(tmp_path))
    assert set(manifest) == {"a", os.fsdecode(b"caf\xe9"), "deep/er/x", "sub/.git/x", "link"}
    status = (tmp_path / "a").stat()
    assert manifest["a"] == (status.st_mode, 1, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
