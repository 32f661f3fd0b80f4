"""Requirements files: what a build can use goes in whole, what means something of this machine is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from langchain_sandbox.engine.images.requirements import MAX_FILE, MAX_FILES, read_requirements
from langchain_sandbox.errors import SandboxConfigError


def write(folder: Path, **files: str) -> Path:
    """Files `NAME.txt` in a folder; the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.txt").write_text(content)
    return folder / f"{next(iter(files))}.txt"


def read(folder: Path, content: str) -> str:
    return read_requirements([write(folder, main=content)])["install-0.txt"].decode()


@pytest.mark.parametrize(
    "line",
    [
        "humanize",
        "humanize==4.9.0",
        "humanize[extra1,extra2] >= 4, < 5 ; python_version < '4'",
        "humanize==4.9.0 --hash=sha256:abc/def",
        "thing @ https://packages.example/thing-1.0-py3-none-any.whl",
        "thing @ git+https://git.example/team/thing.git@v1#subdirectory=py",
        "git+ssh://git@git.example/team/thing.git",
        "https://packages.example/thing-1.0.tar.gz",
        "--index-url https://packages.example/simple",
        "-i https://packages.example/simple",
        "--extra-index-url=https://packages.example/simple",
        "-f https://packages.example/links",
        "--pre",
        "--no-binary :all:",
        "--trusted-host packages.example",
    ],
)
def test_what_a_build_can_use_goes_in_as_it_is(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, f"{line}\n") == f"{line}\n"


def test_comments_go_and_broken_lines_are_joined(tmp_path: Path) -> None:
    content = (
        "# tools\n\npytest==8.3.5 \\\n    --hash=sha256:abc  # pinned\nthing@https://a.example/b#egg=c\n  \nlast\\"
    )
    assert read(tmp_path, content) == "pytest==8.3.5     --hash=sha256:abc\nthing@https://a.example/b#egg=c\nlast\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("-e .", "editable install"),
        ("--editable=git+https://git.example/x.git", "editable install"),
        (".", "is a path of this machine"),
        ("./wheels/thing.whl", "is a path of this machine"),
        ("..", "is a path of this machine"),
        ("/srv/thing", "is a path of this machine"),
        ("~/thing", "is a path of this machine"),
        ("packages/thing", "is a path of this machine"),
        ("thing-1.0-py3-none-any.whl", "is a path of this machine"),
        ("thing-1.0.tar.gz ; python_version > '3'", "is a path of this machine"),
        ("file:///srv/thing", "is a path of this machine"),
        ("thing @ file:///srv/thing", "is a path of this machine"),
        ("thing @ ./thing", "is a path of this machine"),
        ("git+file:///srv/thing.git", "is a path of this machine"),
        ("--find-links wheels", "is a folder of this machine"),
        ("-f ./wheels", "is a folder of this machine"),
        ("--index-url file:///srv/simple", "is a folder of this machine"),
        ("-r https://packages.example/requirements.txt", "from the network"),
        ("--index-url https://${TOKEN}@packages.example/simple", "uses a variable"),
    ],
)
def test_what_means_something_of_this_machine_is_refused_with_file_and_line(
    tmp_path: Path, line: str, reason: str
) -> None:
    with pytest.raises(SandboxConfigError, match=re.escape(f"{tmp_path}/main.txt, line 3: ")) as refused:
        read(tmp_path, f"# first\nhumanize\n{line}\n")
    assert reason in str(refused.value)


@pytest.mark.parametrize("form", ["-r base.txt", "-rbase.txt", "--requirement base.txt", "--requirement=base.txt"])
def test_includes_go_in_under_names_of_their_own(tmp_path: Path, form: str) -> None:
    path = write(
        tmp_path, main=f"{form}\n-c pins.txt\nthing\n", base="other\n--constraint pins.txt\n", pins="other==1\n"
    )
    option = re.match("-r|--requirement", form)
    assert option is not None
    assert read_requirements([path]) == {
        "install-0.txt": f"{option[0]} include-1.txt\n-c include-2.txt\nthing\n".encode(),
        "include-1.txt": b"other\n--constraint include-2.txt\n",
        "include-2.txt": b"other==1\n",
    }


def test_includes_are_found_beside_the_file_that_names_them_and_may_go_round(tmp_path: Path) -> None:
    write(tmp_path / "sub", deep="-r ../main.txt\nthing\n")
    assert read_requirements([write(tmp_path, main="-r sub/deep.txt\n")]) == {
        "install-0.txt": b"-r include-1.txt\n",
        "include-1.txt": b"-r install-0.txt\nthing\n",
    }


def test_the_same_file_twice_is_one(tmp_path: Path) -> None:
    path = write(tmp_path, main="thing\n")
    assert list(read_requirements([path, tmp_path / "." / "main.txt"])) == ["install-0.txt"]


def test_files_outside_of_a_repository_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, secret="s3cret\n")
    repository = tmp_path / "repository"
    write(repository, main="-r ../secret.txt\n")
    (repository / "link.txt").symlink_to(tmp_path / "secret.txt")
    for name in ("main.txt", "link.txt", "../secret.txt"):
        with pytest.raises(SandboxConfigError, match="is outside of") as refused:
            read_requirements([repository / name], within=repository)
        assert "s3cret" not in str(refused.value)
    assert "include-1.txt" in read_requirements([repository / "main.txt"])


def test_a_file_that_is_none_does_not_hang_or_fill_the_memory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big").write_bytes(b"#" * (MAX_FILE + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, reason in (
        ("pipe", "no ordinary file"),
        ("big", f"more than {MAX_FILE} bytes"),
        ("binary", "not UTF-8"),
        ("absent", "No such file"),
        (".", "cannot be read"),
    ):
        with pytest.raises(SandboxConfigError, match=reason):
            read_requirements([tmp_path / name])


def test_includes_have_an_end(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 1):
        write(tmp_path, **{f"f{number}": f"-r f{number + 1}.txt\n"})
    with pytest.raises(SandboxConfigError, match="one include too many"):
        read_requirements([tmp_path / "f0.txt"])
