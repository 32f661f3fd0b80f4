"""Which files go in: by git's rules in a repository, everything elsewhere, and never more than the limits."""

import os
import shutil
import stat
from pathlib import Path

import pytest
from repositories import commit, forget_settings, git, init, write

from langchain_sandbox.config import Limits
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.workspace.inbound import selection
from langchain_sandbox.workspace.inbound.repository import Repository
from langchain_sandbox.workspace.inbound.selection import Selection, select_files
from langchain_sandbox.workspace_config import Workspace


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_settings(monkeypatch, tmp_path / "home")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return init(tmp_path / "repository")


def select(root: Path, limits: Limits | None = None, **options: object) -> Selection:
    return select_files(Workspace(root, **options), limits or Limits())  # type: ignore[arg-type]


def test_tracked_and_untracked_files_go_in_and_ignored_ones_do_not(root: Path) -> None:
    write(root, **{".gitignore": "*.log\nbuild/\n", "kept.log": ""})
    git(root, "add", "--force", "kept.log")
    commit(root, tracked="1", gone="1", staged="1")
    write(root, **{"untracked": "", "x.log": "", "build/out": "", "staged": "2", "sub/new": ""})
    git(root, "add", "staged")
    (root / "gone").unlink()
    found = select(root)
    assert set(found.files) == {".gitignore", "kept.log", "tracked", "staged", "untracked", "sub/new"}
    assert found.deleted == {"gone": None}
    assert (found.skipped, found.nested) == ([], [])


def test_the_index_is_told_with_modes_and_names_of_contents(root: Path) -> None:
    commit(root, a="a\n", b="b\n")
    write(root, a="changed\n")
    (root / "b").chmod(0o755)
    assert select(root).index == {
        "a": (0o100644, git(root, "rev-parse", ":a").strip()),
        "b": (0o100644, git(root, "rev-parse", ":b").strip()),
    }


@pytest.fixture
def ignoring(root: Path) -> Path:
    """A repository that ignores most of what is in it."""
    write(root, **{"a/.env.test": "", "dist/x": "", "dist/deep/y": "", "a/dist/z": "", "one.log": "", "a/two.log": ""})
    write(root, **{"shown": "", ".git/note": ""})
    commit(root, **{".gitignore": "dist/\n*.log\n.env.test\n"})
    return root


@pytest.mark.parametrize(
    ("pattern", "more"),
    [
        (".env.test", {"a/.env.test"}),
        ("dist", {"dist/x", "dist/deep/y", "a/dist/z"}),
        ("dist/", {"dist/x", "dist/deep/y", "a/dist/z"}),
        ("./dist/x", {"dist/x"}),
        ("a/dist", {"a/dist/z"}),
        ("dist/deep/*", {"dist/deep/y"}),
        ("dist/*", {"dist/x", "dist/deep/y"}),
        ("*.log", {"one.log", "a/two.log"}),
        ("a/*.log", {"a/two.log"}),
        ("**/two.log", {"a/two.log"}),
        ("[o]ne.?og", {"one.log"}),
        ("shown", set()),
    ],
)
def test_what_git_ignores_goes_in_where_include_names_it(pattern: str, more: set[str], ignoring: Path) -> None:
    found = select(ignoring, include=[pattern])
    assert set(found.files) == {".gitignore", "shown"} | more
    assert found.skipped == []


def test_what_would_configure_opencode_stays_outside_whoever_names_it(ignoring: Path) -> None:
    write(ignoring, **{"dist/opencode.json": "", "dist/.opencode/plugin/x.js": "", "dist/.opencode/notes.md": ""})
    found = select(ignoring, include=["dist"])
    assert "dist/.opencode/notes.md" in found.files
    reason = "would configure OpenCode itself"
    assert found.skipped == [f"dist/.opencode/plugin/x.js: {reason}", f"dist/opencode.json: {reason}"]
    found = select(ignoring, include=["opencode.json"])
    assert set(found.files) == {".gitignore", "shown"}


@pytest.mark.parametrize("pattern", ["nothing", "dist/nothing", "*.none", ".git", ".git/note", ":(top)x", "dist[x"])
def test_an_include_that_nothing_is_like_is_named(pattern: str, ignoring: Path) -> None:
    found = select(ignoring, include=[pattern])
    assert set(found.files) == {".gitignore", "shown"}
    assert found.skipped == [f"{pattern}: Workspace.include has it, and nothing is like it"]


def test_include_counts_from_the_workspace_also_in_a_folder_of_a_repository(ignoring: Path) -> None:
    assert set(select(ignoring / "a", include=["dist/z", "*.log"]).files) == {"dist/z", "two.log"}


@pytest.mark.parametrize(
    ("patterns", "less"),
    [
        (["one"], {"one", "a/one"}),
        (["a"], {"a/one", "a/b/c.mp4"}),
        (["a/one"], {"a/one"}),
        (["*.mp4", "one"], {"one", "a/one", "a/b/c.mp4", "new.mp4"}),
        (["a/**/c.mp4"], {"a/b/c.mp4"}),
        (["nothing"], set()),
    ],
)
def test_what_exclude_names_stays_outside_and_is_not_missed(patterns: list[str], less: set[str], root: Path) -> None:
    commit(root, **{"one": "", "a/one": "", "a/b/c.mp4": "", "gone/one": ""})
    write(root, **{"new.mp4": ""})
    shutil.rmtree(root / "gone")
    everything = {"one", "a/one", "a/b/c.mp4", "new.mp4"}
    found = select(root, exclude=patterns)
    assert set(found.files) == everything - less
    assert found.deleted == ({} if "one" in patterns else {"gone/one": None})
    shutil.rmtree(root / ".git")
    assert set(select(root, exclude=patterns).files) == everything - less


def test_exclude_has_the_last_word_over_include(ignoring: Path) -> None:
    assert set(select(ignoring, include=["dist"], exclude=["deep", "a"]).files) == {".gitignore", "shown", "dist/x"}


def test_repositories_in_the_repository_go_in_as_files(root: Path) -> None:
    write(root, **{".gitignore": "hidden/\n"})
    for name in ("inner", "inner/deeper", "inner/deeper/deepest", "hidden"):
        init(root / name)
        write(root / name, **{"file": "", ".gitignore": "*.log\n", "x.log": ""})
    write(root, **{"inner/deeper/tracked": ""})
    git(root / "inner/deeper", "add", "tracked")
    (root / "inner/deeper/tracked").unlink()
    found = select(root)
    assert found.nested == ["inner/deeper/deepest", "inner/deeper", "inner"]
    names = ["inner", "inner/deeper", "inner/deeper/deepest"]
    inside = {f"{name}/{file}" for name in names for file in ("file", ".gitignore")}
    assert set(found.files) == {".gitignore"} | inside


def test_repositories_deeper_than_anybody_has_them_stay_out_and_one_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "_DEPTH", 2)
    for name in ("1", "1/2", "1/2/3"):
        init(root / name)
        write(root / name, file="")
    found = select(root)
    assert set(found.files) == {"1/file", "1/2/file"}
    assert found.skipped == ["1/2/3: looks like a repository and is none"]


def test_a_submodule_goes_in_as_files_where_it_is_initialised(root: Path, tmp_path: Path) -> None:
    library = init(tmp_path / "library")
    commit(library, lib="")
    for name in ("used", "not used"):
        git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), name)
    commit(root)
    git(root, "submodule", "--quiet", "deinit", "not used")
    found = select(root)
    assert (set(found.files), found.nested) == ({".gitmodules", "used/lib"}, ["used"])
    assert (found.deleted, found.skipped) == ({}, [])


@pytest.mark.parametrize("kind", ["link", "file", "gone", "link above"])
def test_a_submodule_that_became_something_else_is_that(kind: str, root: Path, tmp_path: Path) -> None:
    library = init(tmp_path / "library")
    commit(library, secret="")
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "deps/lib")
    shutil.rmtree(root / "deps")
    if kind == "link above":
        (tmp_path / "outside").mkdir()
        library.rename(tmp_path / "outside/lib")
        (root / "deps").symlink_to(tmp_path / "outside")
    elif kind != "gone":
        (root / "deps").mkdir()
    if kind == "link":
        (root / "deps/lib").symlink_to(library)
    elif kind == "file":
        write(root, **{"deps/lib": ""})
    found = select(root)
    there = {"link": {"deps/lib"}, "file": {"deps/lib"}, "gone": set(), "link above": {"deps"}}[kind]
    assert (set(found.files), found.nested) == ({".gitmodules"} | there, [])
    assert (set(found.deleted), found.skipped) == (set() if "deps/lib" in there else {"deps/lib"}, [])


def test_a_folder_that_looks_like_a_repository_and_is_none_stays_out_and_is_named(root: Path, tmp_path: Path) -> None:
    commit(init(root / "sub"), file="")
    git(root, "add", "sub")
    shutil.rmtree(root / "sub/.git")
    (root / "sub/.git").mkdir()
    assert select(root).skipped == ["sub: looks like a repository and is none"]
    shutil.rmtree(root / "sub/.git")
    write(root, **{"sub/.git": "gitdir: /gone\n"})
    [skipped] = select(root).skipped
    assert skipped.startswith("sub: a repository that git cannot read: ")
    plain = tmp_path / "plain"
    write(plain, **{"a/.git/x": "", "a/secret": "", "b": ""})
    found = select(plain)
    assert set(found.files) == {"b"}
    assert found.skipped[0].startswith("a: a repository that git cannot read: ")


def test_a_plain_folder_goes_in_whole_and_repositories_in_it_by_their_own_rules(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    write(plain, **{"a/b/.hidden": "", ".gitignore": "*", ".langchain-sandbox.apply/x": "", "opencode.json": ""})
    (plain / "link").symlink_to("a")
    (plain / "empty").mkdir()
    commit(init(plain / "a/inner"), **{"file": "", ".gitignore": "*.log\n"})
    write(plain, **{"a/inner/x.log": "", "a/inner/new": ""})
    os.mkfifo(plain / "pipe")
    found = select(plain)
    expected = {"a/b/.hidden", ".gitignore", "link", "a/inner/file", "a/inner/.gitignore", "a/inner/new"}
    assert (set(found.files), found.nested, found.repository) == (expected, ["a/inner"], None)
    assert sorted(found.skipped) == [
        "opencode.json: would configure OpenCode itself",
        "pipe: neither a file nor a link",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "plain", **{"a/b": "", "c": ""})
    (tmp_path / "plain/a").chmod(0)
    found = select(tmp_path / "plain")
    (tmp_path / "plain/a").chmod(0o700)
    assert (set(found.files), found.skipped) == ({"c"}, ["a: the folder cannot be read: Permission denied"])


def test_what_a_sparse_checkout_leaves_out_is_not_deleted(root: Path) -> None:
    commit(root, **{"a/x": "", "b/y": "", "top": ""})
    git(root, "sparse-checkout", "set", "a")
    (root / "a/x").unlink()
    found = select(root)
    assert (set(found.files), found.deleted) == ({"top"}, {"a/x": None})
    write(root, **{"b/y": "there all the same"})
    assert "b/y" in select(root).files


@pytest.fixture
def tracked(root: Path) -> Path:
    """A repository whose folder `a` with the tracked file `a/b` is gone, so that something else may be there."""
    commit(root, **{"a/b": "old\n"})
    shutil.rmtree(root / "a")
    return root


def test_a_folder_that_became_a_link_is_not_looked_through(tracked: Path, tmp_path: Path) -> None:
    write(tmp_path / "outside", b="the host's secret")
    (tracked / "a").symlink_to(tmp_path / "outside")
    found = select(tracked)
    assert (set(found.files), found.deleted) == ({"a"}, {"a/b": None})
    assert stat.S_ISLNK(found.files["a"].st_mode)


def test_a_folder_that_became_a_file_is_that_file(tracked: Path) -> None:
    write(tracked, a="")
    found = select(tracked)
    assert (set(found.files), found.deleted) == ({"a"}, {"a/b": None})


def test_a_file_that_became_a_folder_is_gone_and_what_is_in_the_folder_is_there(tracked: Path) -> None:
    write(tracked, **{"a/b/c": ""})
    found = select(tracked)
    assert (set(found.files), found.deleted) == ({"a/b/c"}, {"a/b": None})


def test_a_tracked_file_that_became_a_pipe_is_named(tracked: Path) -> None:
    (tracked / "a").mkdir()
    os.mkfifo(tracked / "a/b")
    found = select(tracked)
    assert (found.files, found.deleted, found.skipped) == ({}, {}, ["a/b: neither a file nor a link"])


def test_a_file_in_conflict_goes_in_as_it_is_and_is_in_no_index(root: Path) -> None:
    commit(root, file="1\n", other="")
    git(root, "checkout", "--quiet", "-b", "side")
    commit(root, file="2\n")
    git(root, "checkout", "--quiet", "main")
    commit(root, file="3\n")
    git(root, "merge", "--quiet", "side", check=False)
    found = select(root)
    assert (set(found.files), set(found.index), found.deleted) == ({"file", "other"}, {"other"}, {})
    (root / "file").unlink()
    assert select(root).deleted == {"file": None}


@pytest.mark.parametrize("kind", ["repository", "plain"])
def test_names_of_any_bytes_are_found(kind: str, root: Path) -> None:
    names = {os.fsdecode(name) for name in (b"caf\xe9", b"\xff\n", b"tab\t", b'q"', b" x ", "ü".encode(), b"*?[x]")}
    write(root, **dict.fromkeys(names | {f"{name}/in" for name in map("d-".__add__, names)}, ""))
    if kind == "plain":
        shutil.rmtree(root / ".git")
    assert set(select(root).files) == names | {f"d-{name}/in" for name in names}
    if kind == "repository":
        commit(root)
        assert set(select(root).index) == set(select(root).files)


def test_where_changes_wait_to_be_applied_is_never_taken(root: Path) -> None:
    write(root, **{".langchain-sandbox.apply/x": "", "file": ""})
    assert set(select(root, include=[".langchain-sandbox.apply"]).files) == {"file"}


def test_the_total_counts_in_pages_and_the_biggest_files_are_named(root: Path) -> None:
    write(root, big=bytes(9000), **{f"small{number}": "x" for number in range(10)})
    assert select(root).size == 3 * 4096 + 10 * 4096
    assert len(select(root, Limits(workspace=13 * 4096)).files) == 11
    with pytest.raises(
        SandboxConfigError, match=r"53248 bytes, more than 53247 \(Limits.workspace\).*big \(9000 bytes"
    ):
        select(root, Limits(workspace=13 * 4096 - 1))
    assert len(select(root, Limits(workspace=10 * 4096), exclude=["big"]).files) == 10


def test_the_number_of_files_is_bounded_and_the_biggest_folders_are_named(root: Path) -> None:
    write(root, **{f"{folder}/{number}": "" for folder in ("a", "b/c") for number in range(5)}, top="", **{"b/x": ""})
    assert len(select(root, Limits(workspace_files=12)).files) == 12
    with pytest.raises(SandboxConfigError, match=r"12 files.*Limits.workspace_files.*: b \(6 files\), a \(5 files\)"):
        select(root, Limits(workspace_files=11))


def test_a_single_file_is_bounded_and_named_before_it_is_read(root: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(SandboxConfigError, match=r"Limits.workspace_file\): huge \(1099511627776 bytes\).*exclude"):
        select(root, Limits(workspace=2**41))
    assert select(root, exclude=["huge"]).files == {}


def test_a_folder_of_a_repository_is_told_with_its_place(root: Path, tmp_path: Path) -> None:
    head = commit(root, **{"sub/deep/file": "", "top": ""})
    found = select(root / "sub/deep")
    assert (set(found.files), set(found.index)) == ({"file"}, {"file"})
    assert found.repository == Repository(root, "sub/deep/", head)
    (tmp_path / "link").symlink_to(root / "sub")
    assert select(tmp_path / "link").repository == Repository(root, "sub/", head)
    assert select(root).repository == Repository(root, "", head)


def test_a_folder_that_the_repository_above_ignores_is_a_folder_like_any_other(root: Path) -> None:
    commit(root, **{".gitignore": "scratch/\n"})
    write(root, **{"scratch/a": "", "scratch/sub/b": ""})
    found = select(root / "scratch")
    assert (set(found.files), found.repository) == ({"a", "sub/b"}, None)
    git(root, "add", "--force", "scratch/a")
    found = select(root / "scratch")
    assert (set(found.files), found.repository is None) == ({"a"}, False)


def test_a_repository_without_a_commit_has_no_head(root: Path) -> None:
    write(root, a="")
    found = select(root)
    assert (set(found.files), found.repository) == ({"a"}, Repository(root, "", None))


def test_a_linked_work_tree_and_a_submodule_are_repositories(root: Path, tmp_path: Path) -> None:
    commit(root, file="")
    git(root, "worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    outer = init(tmp_path / "outer")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(root), "inner")
    for folder in (tmp_path / "linked", outer / "inner"):
        found = select(folder)
        assert found.repository is not None
        assert (set(found.files), found.repository.top, found.repository.prefix) == ({"file"}, folder, "")


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    init(tmp_path / "bare", "--bare")
    with pytest.raises(SandboxConfigError, match="must be run in a work tree"):
        select(tmp_path / "bare")


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, file="")
    with pytest.raises(SandboxConfigError, match=f"{name} is not a folder"):
        select(tmp_path / name)


@pytest.fixture
def guarded(root: Path) -> Path:
    """A repository that ignores a secret."""
    commit(root, **{".gitignore": ".env\n"})
    write(root, **{".env": "SECRET"})
    return root


@pytest.mark.parametrize("broken", ["config", "index"])
def test_a_repository_that_git_cannot_read_is_refused_and_not_taken_whole(broken: str, guarded: Path) -> None:
    write(guarded, **{f".git/{broken}": "[oops\n"})
    with pytest.raises(SandboxConfigError, match="git cannot read"):
        select(guarded)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_somebody_else_is_refused_and_not_taken_whole(guarded: Path) -> None:
    for path in (guarded, guarded / ".git"):
        os.chown(path, 4321, 4321)
    with pytest.raises(SandboxConfigError, match="dubious ownership"):
        select(guarded)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_worktree_without_its_repository_is_refused_and_not_taken_whole(guarded: Path, kind: str) -> None:
    """A worktree or a submodule that is mounted alone, as the compose file mounts a workspace."""
    (guarded / ".git").rename(guarded / "gone")
    if kind == "file":
        (guarded / ".git").write_text("gitdir: /gone/worktrees/guarded\n")
    else:
        (guarded / ".git").symlink_to("/gone/.git")
    with pytest.raises(SandboxConfigError, match="leads to another folder"):
        select(guarded)


def test_an_empty_git_folder_makes_no_repository(tmp_path: Path) -> None:
    """Docker makes one where it mounts a .git that is not there."""
    write(tmp_path / "plain", file="1")
    (tmp_path / "plain/.git").mkdir()
    found = select(tmp_path / "plain")
    assert (set(found.files), found.repository) == ({"file"}, None)


def test_looking_writes_nothing_and_runs_nothing_of_the_repositorys(root: Path, tmp_path: Path) -> None:
    commit(root, file="1")
    git(root, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false")
    index = (root / ".git/index").read_bytes()
    os.utime(root / "file", (1, 1))
    select(root)
    assert (root / ".git/index").read_bytes() == index
    assert not (tmp_path / "ran").exists()
