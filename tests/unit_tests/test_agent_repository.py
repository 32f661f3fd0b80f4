"""A repository that is written by hand is one that git reads as its own."""

import os
from pathlib import Path

import pytest
from copies import stand_in
from hypothesis import given, settings
from hypothesis import strategies as st
from repositories import commit, forget_settings, git, init

from langchain_sandbox.agent.repository import build_config, look_at_refs, make_repository, restore_head

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the repository is made."""
    forget_settings(monkeypatch, tmp_path / "home")
    return stand_in(monkeypatch, tmp_path / "inside")


def put_down(place: Path, objects: Path, branch: str | None) -> str:
    """Have the repository at the commit of another one, with that one's objects."""
    head = git(objects, "rev-parse", "HEAD").strip()
    make_repository(branch or "main")
    (place / ".git/objects/info/alternates").write_text(f"{objects}/.git/objects\n")
    restore_head({"head": head, "branch": branch, "shallow": []})
    return head


def test_an_empty_one_is_as_git_makes_it(place: Path, tmp_path: Path) -> None:
    make_repository("topic/x")
    own = init(tmp_path / "own", "--initial-branch=topic/x", "--template=")
    for command in (["config", "--list", "--local"], ["symbolic-ref", "HEAD"], ["status", "--porcelain", "--branch"]):
        assert git(place, *command) == git(own, *command), command
    assert git(place, "fsck") == ""


@settings(max_examples=40)
@given(name=texts, address=texts | st.sampled_from(['"', "\\", "a\r\nb", "#", ";x", "\t\b", " a ", "[core]", "a\\\n"]))
def test_settings_of_any_text_are_read_as_they_are(
    name: str, address: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "config"
    text = build_config({"user.name": name, "user.email": address, "core.filemode": "false", "core.eol": "lf"})
    file.write_bytes(text.encode())
    told = git(file.parent, "config", "--file", str(file), "-z", "--list")
    assert dict(record.split("\n", 1) for record in told.split("\0") if record) == {
        "core.repositoryformatversion": "0",
        "core.filemode": "false",
        "core.bare": "false",
        "core.logallrefupdates": "true",
        "core.eol": "lf",
        "user.name": name,
        "user.email": address,
    }


@pytest.mark.parametrize("branch", ["main", "a/b/c", "ü", os.fsdecode(b"caf\xe9"), "it's", "HEAD", "refs/x", None])
def test_what_is_checked_out_is_what_git_says(branch: str | None, place: Path, tmp_path: Path) -> None:
    own = init(tmp_path / "own")
    commit(own, a="a\n")
    head = put_down(place, own, branch)
    expected = f"refs/heads/{branch}\n" if branch else ""
    told = git(place, "symbolic-ref", "--quiet", "HEAD", check=False)
    assert told == expected
    assert git(place, "rev-parse", "refs/heads/HEAD" if branch == "HEAD" else "HEAD", "--").split()[0] == head
    git(place, "read-tree", head)
    commit(place, "next", b="b\n")
    assert git(place, "rev-parse", "HEAD@{1}").strip() == head
    assert len(git(place, "reflog", "HEAD").splitlines()) == 2
    assert git(place, "fsck", "--no-dangling") == ""


@pytest.mark.parametrize(
    ("arguments", "is_new"),
    [
        (["status"], False),
        (["add", "--all"], False),
        (["hash-object", "-w", "a"], False),
        (["commit", "--quiet", "--allow-empty", "--message=x"], True),
        (["branch", "other"], True),
        (["tag", "v1"], True),
        (["checkout", "--quiet", "--detach"], True),
        (["pack-refs", "--all"], True),
        (["update-ref", "refs/heads/deep/er", "HEAD"], True),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_new_commit_is_seen_by_the_files_that_name_it(
    arguments: list[str],
    is_new: bool,  # noqa: FBT001 - of a table
    place: Path,
    tmp_path: Path,
) -> None:
    own = init(tmp_path / "own")
    commit(own, a="a\n")
    git(place, "read-tree", put_down(place, own, "main"))
    (place / "a").write_text("changed\n")
    before = look_at_refs()
    git(place, *arguments)
    assert (look_at_refs() != before) is is_new
