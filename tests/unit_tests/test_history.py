"""The pack alone, put down in a new repository as the agent does, is a clone that git finds no fault with."""

import subprocess
from pathlib import Path

import pytest

from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.inbound.history import History, take_history

SECRET = "https://user:t0ken@example.org/private.git"


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, input=stdin).stdout.decode()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Six commits, a branch merged into them, an uncommitted change and a remote."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=topic/feature")
    for number in range(4):
        with (root / "file").open("a") as file:
            file.write(f"line {number}\n")
        git(root, "add", "file")
        git(root, "commit", "--quiet", "--message", f"commit {number}")
        if number == 1:
            git(root, "branch", "side")
    git(root, "checkout", "--quiet", "side")
    (root / "other").write_text("side\n")
    git(root, "add", "other")
    git(root, "commit", "--quiet", "--message", "on the side")
    git(root, "checkout", "--quiet", "topic/feature")
    git(root, "merge", "--quiet", "--no-edit", "side")
    git(root, "remote", "add", "origin", SECRET)
    git(root, "config", "user.name", "The User")
    git(root, "config", "user.email", "user@example.org")
    (root / "file").write_text("not committed\n")
    return root


def put_down(history: History, root: Path) -> Path:
    """Do what the agent does with a history."""
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch", history.branch or "main")
    history.pack.seek(0)
    git(root, "index-pack", "--stdin", stdin=history.pack.read())
    history.close()
    if history.shallow:
        (root / ".git/shallow").write_text("".join(f"{commit}\n" for commit in history.shallow))
    if history.branch:
        git(root, "update-ref", f"refs/heads/{history.branch}", history.head)
    else:
        git(root, "update-ref", "--no-deref", "HEAD", history.head)
    git(root, "reset", "--quiet", "--hard")
    return root


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6, 100])
def test_a_history_of_any_depth_is_a_clean_clone(repository: Path, tmp_path: Path, depth: int) -> None:
    clone = put_down(take_history(repository, depth=depth), tmp_path / "clone")
    assert git(clone, "fsck", "--full", "--strict") == ""
    assert git(clone, "status", "--porcelain") == ""
    log = git(clone, "log", "--format=%H").split()
    assert log[0] == git(repository, "rev-parse", "HEAD").strip()
    assert set(log) <= set(git(repository, "rev-list", f"--max-count={depth}", "HEAD").split())
    assert git(clone, "show", "HEAD:file") == git(repository, "show", "HEAD:file")
    assert len(git(clone, "blame", "file").splitlines()) == 4


def test_a_depth_beyond_the_history_takes_all_of_it(repository: Path, tmp_path: Path) -> None:
    history = take_history(repository)
    assert history.shallow == []
    clone = put_down(history, tmp_path / "clone")
    for command in (["log", "--format=%H %an %s"], ["blame", "file", "HEAD"], ["log", "--graph", "--oneline"]):
        assert git(clone, *command) == git(repository, *command)


def test_a_commit_can_be_made_on_top(repository: Path, tmp_path: Path) -> None:
    clone = put_down(take_history(repository, depth=2), tmp_path / "clone")
    (clone / "file").write_text("new\n")
    git(clone, "commit", "--quiet", "--all", "--message", "inside")
    assert git(clone, "log", "-1", "--format=%P").strip() == git(repository, "rev-parse", "HEAD").strip()


def test_what_the_agent_is_told_is_where_the_user_stands(repository: Path) -> None:
    history = take_history(repository)
    history.close()
    assert history.describe() == {
        "head": git(repository, "rev-parse", "HEAD").strip(),
        "branch": "topic/feature",
        "shallow": [],
        "user.name": "The User",
        "user.email": "user@example.org",
    }


def test_a_detached_head_is_put_down_detached(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "--quiet", "--force", "--detach", "HEAD~1")
    history = take_history(repository)
    assert history.branch is None
    clone = put_down(history, tmp_path / "clone")
    assert git(clone, "rev-parse", "HEAD") == git(repository, "rev-parse", "HEAD")
    assert git(clone, "branch", "--show-current") == ""


def test_a_clone_that_is_shallow_itself_goes_in_as_far_as_it_goes_back(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{repository}", "shallow")
    history = take_history(tmp_path / "shallow")
    assert history.shallow
    clone = put_down(history, tmp_path / "clone")
    assert git(clone, "fsck", "--full") == ""
    assert git(clone, "log", "--format=%H") == git(tmp_path / "shallow", "log", "--format=%H")


def test_a_linked_work_tree_has_its_own_head_and_the_common_history(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "--quiet", "-b", "linked", str(tmp_path / "linked"), "HEAD~1")
    history = take_history(tmp_path / "linked")
    assert history.branch == "linked"
    clone = put_down(history, tmp_path / "clone")
    assert git(clone, "rev-parse", "HEAD") == git(repository, "rev-parse", "HEAD~1")


def test_neither_remote_nor_other_branches_nor_unsaved_work_travel(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "--quiet", "--force", "-b", "private")
    (repository / "private").write_text("not yours")
    git(repository, "add", "private")
    git(repository, "commit", "--quiet", "--message", "private")
    private = git(repository, "rev-parse", "HEAD").strip()
    git(repository, "checkout", "--quiet", "topic/feature")
    (repository / "file").write_text("not committed\n")
    history = take_history(repository)
    history.pack.seek(0)
    assert SECRET not in str(history.describe())
    clone = put_down(history, tmp_path / "clone")
    everything = "".join(path.read_bytes().decode("latin-1") for path in clone.rglob("*") if path.is_file())
    assert "t0ken" not in everything
    assert "not committed" not in everything
    objects = git(clone, "cat-file", "--batch-all-objects", "--batch-check")
    assert private not in objects
    assert git(clone, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/topic/feature"]


def test_a_repository_without_a_commit_is_a_git_error(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(GitError):
        take_history(tmp_path)


def test_a_file_that_is_named_as_head_is_not_taken_for_it(repository: Path, tmp_path: Path) -> None:
    (repository / "HEAD").write_text("")
    git(repository, "add", "HEAD")
    git(repository, "commit", "--quiet", "--message", "HEAD")
    clone = put_down(take_history(repository), tmp_path / "clone")
    assert git(clone, "log", "--format=%H") == git(repository, "log", "--format=%H", "HEAD", "--")


def test_a_tag_that_is_named_as_the_branch_changes_nothing(repository: Path) -> None:
    git(repository, "tag", "topic/feature")
    history = take_history(repository)
    history.close()
    assert history.branch == "topic/feature"


def test_what_a_partial_clone_lacks_is_not_fetched_by_its_own_command(repository: Path, tmp_path: Path) -> None:
    blob = git(repository, "rev-parse", "HEAD:file").strip()
    (repository / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": "ssh://host/path",
        "core.sshCommand": f"touch {tmp_path}/ran; false",
    }.items():
        git(repository, "config", key, value)
    with pytest.raises(GitError):
        take_history(repository)
    assert not (tmp_path / "ran").exists()
