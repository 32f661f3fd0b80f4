"""Commits out of a container: what is told of them, and what keeps them out."""

import hashlib
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import Inside, count_objects, make_user
from runs import freeze, git

from langchain_sandbox.workspace.git import GitError
from langchain_sandbox.workspace.inbound.repository import Repository
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE
from langchain_sandbox.workspace.outbound.commits import CommitsError, fetch_commits, read_commits

PLUGIN = ".opencode/plugin/x.js"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_user(tmp_path_factory.mktemp("template") / "user")


@pytest.fixture
def user(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "user", symlinks=True)


@pytest.fixture
def inside(user: Path, tmp_path: Path) -> Inside:
    return Inside(user, tmp_path)


def test_what_is_told_of_commits_is_what_was_committed(inside: Inside) -> None:
    first = inside.commit(
        {"src/new.py": b"x = 1\n"}, "add\n\nmore words", "--author=A <a@b.c>", "--date=2020-01-02T03:04:05+0100"
    )
    (inside.repository / "readme").chmod(0o755)
    second = inside.commit({"count": None}, "remove")
    commits = inside.read()
    assert (commits.head, [commit.id for commit in commits.commits]) == (second, [first, second])
    told = commits.commits[0]
    assert (told.subject, told.author, told.email, told.date) == ("add", "A", "a@b.c", "2020-01-02T03:04:05+01:00")
    blob = inside.git("rev-parse", "HEAD:src/new.py").strip()
    assert commits.index == {
        "count": None,
        "readme": (EXECUTABLE, commits.former["readme"][1]),
        "src/new.py": (FILE, blob),
    }  # type: ignore[index]
    assert commits.former["src/new.py"] is None
    assert commits.forward


def test_a_file_that_was_added_and_taken_away_again_is_still_told_of(inside: Inside) -> None:
    inside.commit({".github/workflows/ci.yml": b"on: push\n"})
    inside.commit({".github/workflows/ci.yml": None})
    inside.commit({"src/x.py": b"AKIAQYLPMN5HFIQR7XYA" + b"\n"})
    commits = inside.read()
    assert [commit.risks for commit in commits.commits] == [["ci"], ["ci"], ["secret"]]
    assert list(commits.index) == ["src/x.py"]


def test_a_big_file_is_told_as_such_and_a_letter_that_the_limit_cuts_makes_no_binary_of_it(inside: Inside) -> None:
    inside.commit({"big": b"x" + "ü".encode() * 1024 * 1024})
    assert [commit.risks for commit in inside.read().commits] == [["big"]]


def test_other_branches_are_named_whatever_their_names_are(inside: Inside) -> None:
    inside.commit({"a": b"1\n"})
    for name in ("plain", "a\u3000--all", "caf\u00e9\u2028x", "-" * 3 + "x"):
        inside.git("update-ref", f"refs/heads/{name}", inside.git("commit-tree", "HEAD^{tree}", "-m", name).strip())
    inside.git("update-ref", "refs/heads/same", "HEAD")
    found = inside.read().branches
    assert len(found) == 4
    assert "plain" in found


def test_a_merge_keeps_both_sides(inside: Inside) -> None:
    inside.git("checkout", "--quiet", "-b", "side")
    side = inside.commit({"side": b"1\n"})
    inside.git("checkout", "--quiet", "main")
    main = inside.commit({"main": b"1\n"})
    inside.git("merge", "--quiet", "--no-edit", "side")
    commits = inside.read()
    assert {commit.id for commit in commits.commits} == {side, main, commits.head}
    assert sorted(commits.index) == ["main", "side"]
    assert commits.branches == []


def test_commits_that_do_not_follow_the_users_are_known_as_such(inside: Inside) -> None:
    inside.git("reset", "--quiet", "--hard", "HEAD~1")
    inside.commit({"a": b"1\n"})
    assert not inside.read().forward


def test_a_shallow_clones_commits_are_read(user: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{user}", "shallow")
    (tmp_path / "place").mkdir()
    inside = Inside(tmp_path / "shallow", tmp_path / "place")
    made = inside.commit({"a": b"1\n"})
    commits = inside.read()
    assert [commit.id for commit in commits.commits] == [made]
    assert commits.forward
    fetch_commits(inside.place / "bundle", Repository(inside.user, "", inside.base), commits)
    assert git(inside.user, "cat-file", "-t", made).strip() == "commit"
    assert git(inside.user, "rev-parse", "--is-shallow-repository").strip() == "true"


def test_the_first_commit_of_all_is_read(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "--template=", "user")
    inside = Inside(tmp_path / "user", tmp_path)
    inside.commit({"a": b"1\n"})
    inside.commit({"b": b"1\n"})
    commits = inside.read()
    assert len(commits.commits) == 2
    assert sorted(commits.index) == ["a", "b"]
    assert commits.former == {"a": None, "b": None}


def plain(inside: Inside, *path: bytes, mode: str = "100644", content: bytes = b"x\n") -> None:
    """Commit one file below folders, made of their very bytes."""
    *folders, name = path
    blob = inside.blob(content)
    if not folders:
        inside.commit_tree((mode, name, blob))
        return
    tree = [(mode, name, blob)]
    for folder in reversed(folders):
        inner = b"".join(b"%b %b\0%b" % (bits.encode(), part, bytes.fromhex(to)) for bits, part, to in tree)
        tree = [("40000", folder, inside_tree(inside, inner))]
    inside.commit_tree(*tree)


def inside_tree(inside: Inside, content: bytes) -> str:
    inside.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=content)
    return hashlib.sha1(b"tree %d\0%b" % (len(content), content)).hexdigest()


def submodule(inside: Inside) -> None:
    inside.commit_tree(("160000", b"sub", str(inside.base)))


def twice(inside: Inside) -> None:
    blob = inside.blob(b"x\n")
    inside.commit_tree(("100644", b"a", blob), ("100644", b"a", blob))


def bare(inside: Inside) -> None:
    inside.commit({"x/HEAD": b"ref: refs/heads/a\n", "x/config": b"[core]\n", "x/objects/a": b"", "x/refs/a": b""})


def bare_beside_the_users(inside: Inside) -> None:
    inside.commit({"HEAD": b"ref: refs/heads/a\n", "objects/a": b"", "refs/a": b"", "config": b"[core]\n"})


HOSTILE: list[tuple[Callable[[Inside], object], str]] = [
    (lambda inside: plain(inside, b".git", b"config"), "hasDotgit|inside a .git"),
    (lambda inside: plain(inside, b"a", b".GIT", b"config"), "hasDotgit|inside a .git"),
    (lambda inside: plain(inside, b"a", b"git~1", b"config"), "hasDotgit|inside a .git"),
    (lambda inside: plain(inside, b"a\\.git\\config"), "hasDotgit|inside a .git"),
    (lambda inside: plain(inside, b"..", b"x"), "hasDotdot"),
    (lambda inside: plain(inside, b".", b"x"), "hasDot"),
    (lambda inside: plain(inside, b"/etc/passwd"), "fullPathname"),
    (lambda inside: plain(inside, b"", b"x"), "empty filename"),
    (lambda inside: plain(inside, b"x", mode="100666"), "badFilemode"),
    (lambda inside: plain(inside, b"x", mode="0100644"), "zeroPaddedFilemode"),
    (lambda inside: plain(inside, b".gitmodules", mode="120000", content=b"x"), "gitmodulesSymlink|git would"),
    (lambda inside: plain(inside, b"a", b".gitmodules", mode="120000", content=b"x"), "gitmodulesSymlink|git would"),
    (lambda inside: plain(inside, b"link", mode="120000", content=b"x" * 5000), "too far"),
    (lambda inside: plain(inside, b".langchain-sandbox.apply", b"x"), "where changes wait"),
    (lambda inside: inside.commit({PLUGIN: b"x\n"}), "would configure OpenCode itself"),
    (
        lambda inside: (inside.commit({PLUGIN: b"x\n"}), inside.commit({PLUGIN: None})),
        "would configure OpenCode itself",
    ),
    (lambda inside: inside.commit({"opencode.json": b"{}\n"}), "would configure OpenCode itself"),
    (submodule, "a submodule"),
    (twice, "duplicateEntries"),
    (bare, "take its folder for a repository"),
    (bare_beside_the_users, "take its folder for a repository"),
]


@pytest.mark.parametrize(("make", "reason"), HOSTILE)
def test_a_hostile_commit_is_refused_with_why_and_nothing_of_it_gets_in(
    inside: Inside, make: Callable[[Inside], object], reason: str
) -> None:
    make(inside)
    before, count = freeze(inside.user), count_objects(inside.user)
    with pytest.raises((CommitsError, GitError), match=reason):
        read_commits(inside.bundle_by_hand(), Repository(inside.user, "", inside.base))
    assert count_objects(inside.user) == count
    assert freeze(inside.user) == before


def test_a_repository_that_only_the_users_files_and_the_commits_make_together_is_refused(
    user: Path, tmp_path: Path
) -> None:
    (user / "x/objects").mkdir(parents=True)
    (user / "x/objects/a").write_text("")
    (user / "x/HEAD").write_text("ref: refs/heads/a\n")
    git(user, "add", "--all")
    git(user, "commit", "--quiet", "--message=half of one")
    (tmp_path / "place").mkdir()
    inside = Inside(user, tmp_path / "place")
    inside.commit({"x/refs/a": b"", "x/config": b"[core]\n"})
    with pytest.raises(CommitsError, match="take its folder for a repository"):
        inside.read()


def test_a_commit_outside_of_the_workspaces_folder_is_refused(user: Path, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    inside = Inside(user, tmp_path / "place", prefix="src/")
    inside.commit({"src/b.py": b"1\n"})
    assert list(inside.read().index) == ["src/b.py"]
    inside.commit({"readme": b"other\n"})
    with pytest.raises(CommitsError, match="'readme': outside of the workspace"):
        inside.read()


def test_a_bundle_without_head_or_cut_or_of_another_repository_is_refused(inside: Inside, tmp_path: Path) -> None:
    inside.commit({"a": b"1\n" * 10_000})
    whole = inside.bundle().read_bytes()
    bundle = tmp_path / "other"
    repository = Repository(inside.user, "", inside.base)
    before = freeze(inside.user)
    inside.git("bundle", "create", "--quiet", str(bundle), "main", "--not", str(inside.base))
    with pytest.raises(GitError, match="HEAD"):
        read_commits(bundle, repository)
    for cut in (len(whole) - 30, len(whole) // 2, 100, 0):
        bundle.write_bytes(whole[:cut])
        with pytest.raises(GitError):
            read_commits(bundle, repository)
    bundle.write_bytes(whole.replace(str(inside.base).encode(), b"1" * 40, 1))
    with pytest.raises(GitError, match="prerequisite"):
        read_commits(bundle, repository)
    bundle.write_bytes(whole)
    assert read_commits(bundle, repository).head
    assert freeze(inside.user) == before


def test_a_bundle_that_lacks_an_object_is_refused(inside: Inside, tmp_path: Path) -> None:
    head = inside.commit({"a": b"only here\n"})
    tree = inside.git("rev-parse", "HEAD^{tree}").strip()
    pack = tmp_path / "lacking"
    inside.git("pack-objects", "--quiet", str(pack), stdin=f"{head}\n{tree}\n".encode())
    [file] = tmp_path.glob("lacking-*.pack")
    header = f"# v2 git bundle\n-{inside.base} base\n{head} HEAD\n\n".encode()
    (tmp_path / "bundle").write_bytes(header + file.read_bytes())
    count = count_objects(inside.user)
    with pytest.raises(GitError):
        read_commits(tmp_path / "bundle", Repository(inside.user, "", inside.base))
    assert count_objects(inside.user) == count


def test_more_commits_than_anybody_looks_at_are_refused(inside: Inside) -> None:
    lines = [b"reset refs/heads/main\nfrom %b\n" % str(inside.base).encode()]
    lines += [b"commit refs/heads/main\ncommitter a <a> %d +0000\ndata 0\n" % number for number in range(10_000)]
    inside.git("fast-import", "--quiet", "--force", stdin=b"".join(lines))
    with pytest.raises(CommitsError, match="there are 10000, and at most 1000"):
        inside.read()


def test_contents_that_blow_up_take_no_memory(inside: Inside) -> None:
    inside.commit({f"zeros/{number}": bytes(1024 * 1024 + number) for number in range(12)})
    bundle = inside.bundle()
    assert bundle.stat().st_size < 100_000
    tracemalloc.start()
    try:
        read_commits(bundle, Repository(inside.user, "", inside.base))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * 1024 * 1024


def test_more_bytes_than_anybody_looks_at_are_refused(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_sandbox.workspace.outbound.commits._MAX_BYTES", 1024 * 1024)
    inside.commit({"zeros": bytes(1024 * 1024 + 1)})
    with pytest.raises(CommitsError, match="hold more than 1048576 bytes"):
        inside.read()
