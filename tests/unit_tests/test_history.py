"""Git looks inside as it does outside: the same status, the same differences, the same history."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from copies import Copy, bring_in
from repositories import commit, duplicate, forget_settings, git, init, write

from langchain_sandbox.config import Limits
from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.inbound import packing
from langchain_sandbox.workspace.inbound.history import History, Inquiry, take_history
from langchain_sandbox.workspace.inbound.intake import take_intake
from langchain_sandbox.workspace.inbound.pack_memory import PackMemory
from langchain_sandbox.workspace.inbound.selection import select_files
from langchain_sandbox.workspace_config import Workspace

SECRET = "https://user:t0ken@example.org/private.git"

STATUS = ["status", "--porcelain=v2", "--branch", "--untracked-files=all"]
VIEWS = [STATUS, ["diff"], ["diff", "--cached"], ["ls-files", "--stage"]]
STORIES = [["log", "--format=%H %an %ae %s"], ["blame", "--root", "a", "HEAD"]]


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_settings(monkeypatch, tmp_path / "home")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commits; `a` has lines of each of them."""
    folder = init(tmp_path_factory.mktemp("template"))
    files = {f"sub/{name}": f"{name}\n" for name in "pq"}
    commit(folder, "first", a="1\n", b="b\n", c="c\n", run="#!/bin/sh\n", **files)
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("a")
    commit(folder, "second", a="1\n2\n")
    commit(folder, "third", a="1\n2\n3\n")
    return folder


@pytest.fixture
def root(tmp_path: Path, template: Path) -> Path:
    return duplicate(template, tmp_path / "repository")


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Copy]:
    """Puts a workspace down."""
    return lambda workspace, **options: bring_in(workspace, tmp_path / "inside", monkeypatch, **options)


def compare(outside: Path, copy: Copy, *more: list[str], views: list[list[str]] = VIEWS) -> None:
    """Every view is the same, and the objects are sound."""
    assert copy.git is not None, copy.warnings
    for command in [*views, *more]:
        assert git(copy.repository, *command, home=copy.home) == git(outside, *command), command
    assert git(copy.repository, "fsck", "--full", "--no-dangling") == ""


def stage_new(root: Path) -> None:
    write(root, new="n\n", **{"sub/new": "n\n"})
    git(root, "add", "new", "sub/new")


def stage_change(root: Path) -> None:
    write(root, a="changed\n")
    git(root, "add", "a")


def stage_deletion(root: Path) -> None:
    git(root, "rm", "--quiet", "a", "sub/p")


def stage_deletion_of_what_stays(root: Path) -> None:
    git(root, "rm", "--quiet", "--cached", "a")


def stage_rename(root: Path) -> None:
    git(root, "mv", "a", "sub/renamed")


def stage_mode(root: Path) -> None:
    (root / "b").chmod(0o755)
    git(root, "add", "b")


def stage_kind(root: Path) -> None:
    (root / "b").unlink()
    (root / "b").symlink_to("a")
    git(root, "add", "b")


def change(root: Path) -> None:
    write(root, a="changed\n")
    (root / "b").chmod(0o755)
    (root / "c").unlink()
    (root / "link").unlink()
    (root / "link").symlink_to("elsewhere")
    write(root, untracked="u\n")


def stage_and_change_again(root: Path) -> None:
    write(root, a="staged\n", new="staged\n", b="staged\n")
    git(root, "add", "a", "new", "b")
    write(root, a="changed\n", new="changed\n")
    (root / "b").unlink()


def intend(root: Path) -> None:
    write(root, meant="m\n", empty="", **{"sub/meant": "m\n"})
    git(root, "add", "--intent-to-add", "meant", "sub/meant")
    git(root, "add", "empty")


def intend_what_is_gone(root: Path) -> None:
    intend(root)
    (root / "meant").unlink()


def intend_what_runs(root: Path) -> None:
    write(root, meant="m\n")
    (root / "meant").chmod(0o755)
    git(root, "add", "--intent-to-add", "meant")


def conflict(root: Path) -> None:
    git(root, "checkout", "--quiet", "-b", "side", "HEAD~1")
    commit(root, "theirs", a="theirs\n", b="theirs\n", both="theirs\n")
    git(root, "checkout", "--quiet", "main")
    git(root, "rm", "--quiet", "b")
    commit(root, "ours", a="ours\n", both="ours\n")
    git(root, "merge", "--quiet", "side", check=False)
    assert len(git(root, "ls-files", "--unmerged").splitlines()) == 7


def replace_a_file_by_a_folder(root: Path) -> None:
    (root / "b").unlink()
    write(root, **{"b/inside": "x\n"})


def replace_a_folder_by_a_file(root: Path) -> None:
    shutil.rmtree(root / "sub")
    write(root, sub="x\n")


def replace_a_folder_by_a_link(root: Path) -> None:
    (root / "sub").rename(root / "moved")
    (root / "sub").symlink_to("moved")


def detach(root: Path) -> None:
    git(root, "checkout", "--quiet", "--detach", "HEAD~1")
    write(root, a="changed\n")


def tell_to_ignore(root: Path) -> None:
    write(root, **{".git/info/exclude": "*.log\n", ".gitignore": "build/\n!kept.log\n"})
    write(root, **{"x.log": "", "kept.log": "", "build/x": "", "y.own": ""})
    write(root.parent / "home", **{".config/git/ignore": "*.own\n"})


def choose_own_rules(root: Path) -> None:
    write(root.parent / "home", **{".ignore": "*.own\n", ".config/git/ignore": "c2\n"})
    git(root, "config", "--global", "core.excludesFile", "~/.ignore")
    write(root, **{"y.own": "", "c2": ""})


def look_away_from_modes(root: Path) -> None:
    git(root, "config", "core.fileMode", "false")
    (root / "b").chmod(0o755)
    (root / "run").chmod(0o644)


def have_line_ends(root: Path) -> None:
    git(root, "config", "core.autocrlf", "true")
    write(root, **{".gitattributes": "*.unix text eol=lf\n*.dos text eol=crlf\n*.raw -text\n"})
    write(root, **{"x.unix": "1\n2\n", "x.dos": "1\r\n2\r\n", "x.raw": "1\r\n", "plain": "1\r\n2\r\n", "b": "b\r\n"})
    git(root, "add", "--all")
    write(root, plain="1\r\n2\r\n3\r\n")


def have_odd_names(root: Path) -> None:
    for name in (b"caf\xe9", b"new\nline", b"tab\t", b' q"uote', "ü".encode()):
        (root / os.fsdecode(name)).write_bytes(name)
    git(root, "add", "--all")
    (root / "new\nline").write_text("changed\n")


def have_submodules(root: Path) -> None:
    library = root.parent / "library"
    commit(init(library), lib="l\n")
    for name in ("submodule", "not initialised"):
        git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), name)
    commit(root, "submodules")
    git(root, "submodule", "--quiet", "deinit", "not initialised")


def lose_a_submodule(root: Path) -> None:
    have_submodules(root)
    (root / "not initialised").rmdir()


def nothing(_root: Path) -> None:
    pass


@pytest.mark.parametrize(
    "make",
    [
        stage_new,
        stage_change,
        stage_deletion,
        stage_deletion_of_what_stays,
        stage_rename,
        stage_mode,
        stage_kind,
        change,
        stage_and_change_again,
        intend,
        intend_what_runs,
        intend_what_is_gone,
        conflict,
        replace_a_file_by_a_folder,
        replace_a_folder_by_a_file,
        replace_a_folder_by_a_link,
        detach,
        tell_to_ignore,
        choose_own_rules,
        look_away_from_modes,
        have_line_ends,
        have_odd_names,
        have_submodules,
        lose_a_submodule,
    ],
)
def test_git_looks_inside_as_outside(make: Callable[[Path], None], root: Path, inside: Callable[..., Copy]) -> None:
    make(root)
    copy = inside(root)
    compare(root, copy)
    assert copy.warnings == []


@pytest.mark.parametrize("make", [nothing, conflict, detach])
def test_the_past_is_told_inside_as_outside(
    make: Callable[[Path], None], root: Path, inside: Callable[..., Copy]
) -> None:
    make(root)
    copy = inside(root)
    for command in STORIES:
        assert git(copy.repository, *command) == git(root, *command)


@pytest.mark.parametrize("make", [nothing, stage_new, intend])
def test_a_branch_that_is_not_born_is_put_down_unborn(
    make: Callable[[Path], None], tmp_path: Path, inside: Callable[..., Copy]
) -> None:
    root = init(tmp_path / "repository", "--initial-branch=topic/x")
    write(root, a="a\n", **{"sub/b": "b\n"})
    make(root)
    compare(root, inside(root))


@pytest.mark.parametrize(
    "make", [nothing, stage_new, stage_change, stage_deletion, change, intend, conflict, have_submodules]
)
def test_a_folder_of_a_repository_has_the_repositorys_git_and_the_rest_is_not_missed(
    make: Callable[[Path], None], root: Path, inside: Callable[..., Copy]
) -> None:
    make(root)
    copy = inside(root / "sub")
    assert copy.folder == copy.repository / "sub"
    below = ["status", "--porcelain=v2", "--branch", "--", "sub"]
    compare(root, copy, below, ["diff", "--cached"], ["diff", "--", "sub"], *STORIES[:1], views=[])
    missed = git(copy.repository, "status", "--porcelain=v2").splitlines()
    assert not [line for line in missed if line.startswith("1 .") and " sub/" not in line]
    assert {path.name for path in copy.repository.iterdir()} <= {".git", "sub"}


def test_rules_above_a_folder_hold_in_it(root: Path, inside: Callable[..., Copy]) -> None:
    commit(root, **{".gitignore": "*.log\n/sub/build\n", "sub/.gitignore": "own\n"})
    copy = inside(root / "sub")
    write(copy.folder, **{"x.log": "", "build/x": "", "own": "", "new": ""})
    assert git(copy.folder, "status", "--porcelain") == "?? sub/new\n"


def test_attributes_above_a_folder_hold_in_it(root: Path, inside: Callable[..., Copy]) -> None:
    commit(root, **{".gitattributes": "*.txt text eol=crlf\n", "sub/x.txt": "1\r\n2\r\n"})
    assert git(root, "show", "HEAD:sub/x.txt") == "1\n2\n"
    copy = inside(root / "sub")
    assert (copy.folder / "x.txt").read_bytes() == b"1\r\n2\r\n"
    assert git(copy.folder, "status", "--porcelain") == ""
    write(copy.folder, **{"x.txt": "1\r\n3\r\n"})
    assert git(copy.folder, "diff", "--stat").endswith("1 insertion(+), 1 deletion(-)\n")


def test_what_stayed_outside_is_not_missed(root: Path, inside: Callable[..., Copy]) -> None:
    commit(root, **{"opencode.json": "{}\n", "big.bin": "b\n"})
    write(root, **{"big.bin": "changed\n"})
    copy = inside(Workspace(root, exclude=["*.bin", "sub"]))
    assert not (copy.repository / "big.bin").exists()
    assert git(copy.repository, "status", "--porcelain") == ""
    skipped = git(copy.repository, "ls-files", "-t").splitlines()
    assert [line for line in skipped if line[0] == "S"] == ["S big.bin", "S opencode.json", "S sub/p", "S sub/q"]


def test_a_sparse_checkout_is_sparse_inside(root: Path, inside: Callable[..., Copy]) -> None:
    git(root, "sparse-checkout", "set", "sub")
    commit(root, **{"sub/p": "changed\n"})
    git(root, "sparse-checkout", "set", "nowhere")
    assert not (root / "sub").exists()
    compare(root, inside(root), ["ls-files", "-t"], *STORIES)


def test_what_a_filter_makes_of_a_file_is_no_change(root: Path, inside: Callable[..., Copy]) -> None:
    """As with Git LFS and git-crypt: other contents in the tree than in the repository, by a program of the user's."""
    git(root, "config", "filter.rot.clean", "tr a-z b-za")
    git(root, "config", "filter.rot.smudge", "tr b-za a-z")
    commit(root, **{".gitattributes": "*.rot filter=rot\n", "kept.rot": "abc\n", "other.rot": "xyz\n"})
    write(root, **{"other.rot": "changed\n"})
    assert git(root, "show", "HEAD:kept.rot") == "bcd\n"
    copy = inside(root)
    assert (copy.repository / "kept.rot").read_text() == "abc\n"
    assert git(copy.repository, "status", "--porcelain") == git(root, "status", "--porcelain") == " M other.rot\n"
    git(copy.repository, "commit", "--quiet", "--all", "--message", "inside")
    assert git(copy.repository, "show", "HEAD:kept.rot") == "bcd\n"


def test_no_filter_is_run_to_learn_what_has_changed(root: Path, tmp_path: Path) -> None:
    git(root, "config", "filter.x.clean", f"touch {tmp_path}/ran; cat")
    write(root, **{".gitattributes": "*.f filter=x\n", "a.f": "a\n", "b.f": "b\n", "empty": ""})
    git(root, "add", "--all")
    write(root, **{"a.f": "A\n"})
    git(root, "add", "--intent-to-add", "--all")
    (tmp_path / "ran").unlink()  # b.f is as young as the index: git alone would have to read it
    intake = take_intake(Workspace(root), Limits())
    intake.close()
    assert intake.history is not None
    assert intake.history.differing == ["a.f"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("depth", [1, 2, 3, 100])
def test_a_history_of_any_depth_is_sound(depth: int, root: Path, inside: Callable[..., Copy]) -> None:
    git(root, "checkout", "--quiet", "-b", "side", "HEAD~1")
    commit(root, "on the side", other="side\n")
    git(root, "checkout", "--quiet", "main")
    git(root, "merge", "--quiet", "--no-edit", "side")
    copy = inside(Workspace(root, history=depth))
    compare(root, copy)
    log = git(copy.repository, "log", "--format=%H").split()
    assert log[0] == git(root, "rev-parse", "HEAD").strip()
    assert set(log) <= set(git(root, "rev-list", f"--max-count={depth}", "HEAD").split())
    assert len(git(copy.repository, "blame", "a").splitlines()) == 3


def test_without_any_history_there_is_an_empty_repository(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(Workspace(root, history=0))
    assert copy.git is None
    assert git(copy.repository, "log", check=False) == ""
    assert (copy.repository / "a").read_text() == "1\n2\n3\n"


def test_a_commit_can_be_made_on_top(root: Path, inside: Callable[..., Copy]) -> None:
    stage_and_change_again(root)
    copy = inside(Workspace(root, history=2))
    git(copy.repository, "commit", "--quiet", "--all", "--message", "inside")
    assert git(copy.repository, "log", "-1", "--format=%P").strip() == git(root, "rev-parse", "HEAD").strip()
    assert git(copy.repository, "status", "--porcelain") == ""
    assert git(copy.repository, "fsck", "--full", "--no-dangling") == ""


def test_a_clone_that_is_shallow_itself_goes_in_as_far_as_it_goes_back(
    root: Path, tmp_path: Path, inside: Callable[..., Copy]
) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{root}", "shallow")
    git(tmp_path / "shallow", "remote", "remove", "origin")
    copy = inside(tmp_path / "shallow")
    compare(tmp_path / "shallow", copy, *STORIES)
    assert len(git(copy.repository, "log", "--format=%H").split()) == 2


@pytest.mark.parametrize("kind", ["worktree", "submodule"])
def test_a_linked_folder_has_its_own_head_and_index(
    kind: str, root: Path, tmp_path: Path, inside: Callable[..., Copy]
) -> None:
    linked = tmp_path / "linked"
    if kind == "worktree":
        git(root, "worktree", "add", "--quiet", "-b", "linked", str(linked), "HEAD~1")
    else:
        outer = init(tmp_path / "outer")
        git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(root), "inner")
        linked = outer / "inner"
        git(linked, "remote", "remove", "origin")
    stage_and_change_again(linked)
    compare(linked, inside(linked), *STORIES)


def test_neither_remote_nor_other_branches_nor_settings_nor_hooks_travel(
    root: Path, inside: Callable[..., Copy]
) -> None:
    git(root, "remote", "add", "origin", SECRET)
    git(root, "config", "user.name", "The User")
    git(root, "config", "user.email", "user@example.org")
    git(root, "config", "--global", "core.excludesFile", "rules")
    git(root, "config", "alias.x", "!echo t0ken")
    git(root, "checkout", "--quiet", "-b", "private")
    private = commit(root, "private", private="not yours")
    git(root, "checkout", "--quiet", "main")
    (root / ".git/hooks/pre-commit").write_text("#!/bin/sh\necho t0ken\n")
    write(root, a="not committed\n")
    git(root, "stash", "--quiet")
    copy = inside(root)
    everything = b"".join(path.read_bytes() for path in copy.repository.rglob("*") if path.is_file())
    assert b"t0ken" not in everything
    objects = git(copy.repository, "cat-file", "--batch-all-objects", "--batch-check")
    assert private not in objects
    assert git(root, "rev-parse", "stash@{0}").strip() not in objects
    assert git(copy.repository, "stash", "list") == ""
    assert git(copy.repository, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/main"]
    assert copy.git["settings"] == {"user.name": "The User", "user.email": "user@example.org", "core.filemode": "true"}
    assert git(copy.repository, "config", "user.name").strip() == "n"  # the test's own, by its command line
    assert "The User" in (copy.repository / ".git/config").read_text()


@pytest.mark.parametrize("kind", ["named by the repository", "behind a link"])
def test_rules_that_may_be_a_secret_of_the_hosts_are_not_read(kind: str, root: Path, tmp_path: Path) -> None:
    """A repository that came in an archive has a .git of somebody else's."""
    write(tmp_path, secret="t0ken\n")
    rules = root / ".git/info/exclude"
    if kind == "named by the repository":
        git(root, "config", "core.excludesFile", str(tmp_path / "secret"))
    else:
        rules.unlink()
        rules.symlink_to(tmp_path / "secret")
    history = take(root)
    assert history is not None
    assert "t0ken" not in str(history.describe())
    history.close()


def test_a_user_without_a_name_has_none_inside(root: Path, inside: Callable[..., Copy]) -> None:
    copy = inside(root)
    assert "[user]" not in (copy.repository / ".git/config").read_text()


def test_files_that_are_as_the_index_says_need_not_be_read(root: Path, inside: Callable[..., Copy]) -> None:
    for name in "abc":
        os.utime(root / name, (1, 1))  # what is as young as the index, git reads in any case
    copy = inside(root)
    (copy.repository / "b").write_text("B\n")  # as long as before
    os.utime(copy.repository / "b", (1, 1))
    git(copy.repository, "config", "core.trustctime", "false")
    assert git(copy.repository, "status", "--porcelain") == ""
    copied = git(copy.repository, "ls-files", "--debug", "a")
    status = (copy.repository / "a").stat()
    assert f"mtime: {status.st_mtime_ns // 10**9}:{status.st_mtime_ns % 10**9}" in copied
    assert f"ino: {status.st_ino}" in copied
    assert f"size: {status.st_size}" in copied


def take(root: Path, *, depth: int = 200, room: int = 1_000_000) -> History | None:
    selection = select_files(Workspace(root), Limits())
    with ThreadPoolExecutor(1) as helper:
        return take_history(selection, Inquiry.begin(selection, depth=depth, helpers=helper), room=room)


def test_a_history_that_has_no_room_goes_in_in_part(tmp_path: Path) -> None:
    root = init(tmp_path / "repository")
    for number in range(12):
        commit(root, f"{number}", a=os.urandom(20_000))
    sizes = []
    for room, commits, warned in ((300_000, 12, False), (120_000, 2, True), (30_000, 1, True)):
        history = take(root, depth=12, room=room)
        assert history is not None
        index = git(root, "show-index", stdin=(history.folder / f"{history.pack}.idx").read_bytes())
        sizes.append(len(index.splitlines()))
        assert sizes[-1] == 3 * commits  # a commit, a tree and a file each
        assert any("Limits.workspace" in warning for warning in history.warnings) is warned
        history.close()
    with pytest.raises(GitError, match=r"10000 bytes that are left \(Limits.workspace\)"):
        take(root, depth=12, room=10_000)


def test_an_error_leaves_nothing_behind(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    memory = PackMemory()
    monkeypatch.setattr(packing, "_memory", memory)
    with pytest.raises(GitError):
        take(root, room=10)
    commit(root, "not packed yet", a="new\n")
    blob = git(root, "rev-parse", "HEAD:a").strip()
    (root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(GitError, match=blob):
        take(root)
    memory.clear()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_where_there_is_no_repository_there_is_no_history(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert take(tmp_path / "plain") is None


def test_names_of_another_kind_are_a_git_error(tmp_path: Path) -> None:
    root = init(tmp_path / "repository", "--object-format=sha256")
    commit(root, a="a\n")
    with pytest.raises(GitError, match="SHA-256"):
        take(root)


def test_a_file_that_is_named_as_head_is_not_taken_for_it(root: Path, inside: Callable[..., Copy]) -> None:
    commit(root, HEAD="")
    compare(root, inside(root), ["log", "--format=%H", "HEAD", "--"])


def test_a_tag_that_is_named_as_the_branch_changes_nothing(root: Path, inside: Callable[..., Copy]) -> None:
    git(root, "tag", "main")
    assert inside(root).git["branch"] == "main"


def test_what_a_partial_clone_lacks_is_not_fetched_by_its_own_command(root: Path, tmp_path: Path) -> None:
    commit(root, "not packed yet", a="new\n")
    blob = git(root, "rev-parse", "HEAD:a").strip()
    (root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": "ssh://host/path",
        "core.sshCommand": f"touch {tmp_path}/ran; false",
    }.items():
        git(root, "config", key, value)
    with pytest.raises(GitError, match="git pack-objects failed"):
        take(root)
    assert not (tmp_path / "ran").exists()


def test_a_partial_clone_goes_in_with_what_it_has_and_nothing_is_fetched(
    root: Path, tmp_path: Path, inside: Callable[..., Copy]
) -> None:
    git(root, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", f"file://{root}", "partial")
    partial = tmp_path / "partial"
    git(partial, "config", "remote.origin.uploadpack", f"touch {tmp_path}/ran; git-upload-pack")
    copy = inside(partial)
    assert git(copy.repository, "log", "--format=%H") == git(root, "log", "-1", "--format=%H")
    assert git(copy.repository, "status", "--porcelain") == ""
    assert git(copy.repository, "fsck", "--full") == ""
    [warning] = copy.warnings
    assert warning.startswith("1 of 200 commits went in: more cannot be read: git pack-objects failed")
    assert not (tmp_path / "ran").exists()
