"""The agent's commits get into the user's repository as they are, by moving the branch forward or as a branch."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import RUN_ID, Inside, count_objects, files_of, make_user
from runs import freeze, git

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.applying import tree as tree_module
from langchain_sandbox.workspace.applying.told import ApplyReport

MADE = f"sandbox/{RUN_ID}"
WORK = {"src/new.py": b"x = 1\n", "src/a.py": b"one\n", "readme": None}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_user(tmp_path_factory.mktemp("template") / "user")


@pytest.fixture
def user(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "user", symlinks=True)


@pytest.fixture
def inside(user: Path, tmp_path: Path) -> Inside:
    return Inside(user, tmp_path)


def tell(repository: Path) -> tuple[str, ...]:
    """What git says of a repository: status, index, branches and where HEAD is."""
    commands = (
        "status --porcelain",
        "ls-files --stage",
        "for-each-ref refs/heads",
        "rev-parse --symbolic-full-name HEAD",
    )
    return tuple(git(repository, *command.split()) for command in commands)


def assert_branch(inside: Inside, report: ApplyReport, head: str) -> None:
    """A branch was made of the commits, and neither HEAD nor the index was touched."""
    assert (report.forwarded, report.branch) == (None, MADE)
    assert git(inside.user, "rev-parse", f"refs/heads/{MADE}").strip() == head


def test_the_branch_moves_forward_and_git_says_what_it_says_inside(inside: Inside) -> None:
    inside.commit(WORK)
    head = inside.commit({"src/b.py": b"b\n"})
    (inside.repository / "src/b.py").write_bytes(b"not committed\n")
    (inside.repository / "src/untracked.py").write_bytes(b"neither\n")
    run = inside.run()
    report = run.apply()
    assert (report.forwarded, report.branch) == ("main", None)
    assert report.paths == ["readme", "src/a.py", "src/b.py", "src/new.py", "src/untracked.py"]
    assert tell(inside.user) == tell(inside.repository)
    assert git(inside.user, "rev-parse", "HEAD").strip() == head
    assert files_of(inside.user) == files_of(inside.repository)
    assert "langchain-sandbox" in git(inside.user, "reflog", "-1", "main")


def test_who_made_a_commit_when_and_above_which_is_kept_to_the_bit(inside: Inside) -> None:
    inside.git("checkout", "--quiet", "-b", "side")
    inside.commit({"side": b"1\n"}, "ünï\n\nbody", "--author=Ü <ü@x>", "--date=1999-01-01T00:00:00-1100")
    inside.git("checkout", "--quiet", "main")
    inside.commit({"main": b"1\n"})
    inside.git("merge", "--quiet", "--no-edit", "side")
    inside.run().apply()
    history = ("log", "--format=raw", "HEAD")
    assert git(inside.user, *history) == inside.git(*history)
    assert "refs/heads/side" not in git(inside.user, "for-each-ref")


def test_applied_twice_nothing_happens_and_a_revert_takes_all_of_it_back(inside: Inside) -> None:
    inside.commit(WORK)
    (inside.repository / "src/untracked.py").write_bytes(b"x\n")
    run = inside.run()
    before, files = tell(inside.user), files_of(inside.user)
    run.apply()
    after = freeze(inside.user)
    assert run.apply() == ApplyReport()
    assert freeze(inside.user) == after
    run.revert()
    assert (tell(inside.user), files_of(inside.user)) == (before, files)
    assert run.revert() == ApplyReport()
    run.apply()
    assert tell(inside.user) == tell(inside.repository)


def test_what_the_user_has_dirty_elsewhere_stays_dirty(inside: Inside) -> None:
    head = inside.commit(WORK)
    run = inside.run()
    (inside.user / "count").write_text("mine\n")
    (inside.user / "staged").write_text("mine\n")
    (inside.user / "untracked").write_text("mine\n")
    git(inside.user, "add", "staged")
    report = run.apply()
    assert report.forwarded == "main"
    assert git(inside.user, "rev-parse", "HEAD").strip() == head
    assert git(inside.user, "status", "--porcelain") == " M count\nA  staged\n?? untracked\n"


def test_what_the_user_has_written_in_the_same_file_is_merged_and_not_committed(inside: Inside) -> None:
    lines = (inside.user / "src/a.py").read_text()
    inside.commit({"src/a.py": lines.replace("8\n", "eight\n").encode()})
    run = inside.run()
    (inside.user / "src/a.py").write_text(lines.replace("1\n", "one\n"))
    report = run.apply()
    assert (report.merged, report.forwarded) == (["src/a.py"], "main")
    assert git(inside.user, "diff", "--numstat") == "1\t1\tsrc/a.py\n"
    run.revert()
    assert (inside.user / "src/a.py").read_text() == lines.replace("1\n", "one\n")
    assert git(inside.user, "rev-parse", "HEAD").strip() == inside.base


def test_what_the_agent_committed_and_took_back_is_a_change_as_it_is_inside(inside: Inside) -> None:
    inside.commit({"count": b"agent's\n"})
    shutil.copyfile(inside.user / "count", inside.repository / "count")
    run = inside.run()
    assert run.patch == b""
    assert run.apply().forwarded == "main"
    assert tell(inside.user) == tell(inside.repository)
    run.revert()
    assert git(inside.user, "status", "--porcelain") == ""


def test_what_is_staged_as_the_commits_have_it_goes_with_them_and_comes_back(inside: Inside) -> None:
    inside.commit(WORK)
    run = inside.run()
    for path, content in WORK.items():
        if content is None:
            (inside.user / path).unlink()
        else:
            (inside.user / path).parent.mkdir(exist_ok=True)
            (inside.user / path).write_bytes(content)
    git(inside.user, "add", "--all")
    before = tell(inside.user)
    assert run.apply().forwarded == "main"
    assert tell(inside.user) == tell(inside.repository)
    run.revert()
    assert tell(inside.user) == before


def staged(user: Path) -> None:
    (user / "src/a.py").write_text("0\n" + (user / "src/a.py").read_text())
    git(user, "add", "src/a.py")
    (user / "src/a.py").write_text((user / "src/a.py").read_text().removeprefix("0\n"))


def staged_below(user: Path) -> None:
    """A file in a folder where the commits have a file; by now it is in the index alone."""
    (user / "src/new.py").mkdir()
    (user / "src/new.py/mine").write_text("mine\n")
    git(user, "add", "src/new.py/mine")
    shutil.rmtree(user / "src/new.py")


def staged_above(user: Path) -> None:
    """A file where the commits have a folder; by now it is in the index alone."""
    (user / "lib").write_text("mine\n")
    git(user, "add", "lib")
    (user / "lib").unlink()


def committed(user: Path) -> None:
    git(user, "commit", "--quiet", "--allow-empty", "--message=meanwhile")


def elsewhere(user: Path) -> None:
    git(user, "checkout", "--quiet", "-b", "other")


def detached(user: Path) -> None:
    git(user, "checkout", "--quiet", "--detach")


def merging(user: Path) -> None:
    git(user, "checkout", "--quiet", "-b", "side", "HEAD~1")
    (user / "side").write_text("1\n")
    git(user, "add", "side")
    git(user, "commit", "--quiet", "--message=side")
    git(user, "checkout", "--quiet", "main")
    git(user, "merge", "--quiet", "--no-ff", "--no-commit", "side")


@pytest.mark.parametrize("meanwhile", [staged, staged_below, staged_above, committed, elsewhere, detached, merging])
def test_where_the_branch_cannot_simply_move_forward_a_branch_is_made_and_the_files_are_applied(
    inside: Inside, meanwhile: Callable[[Path], None]
) -> None:
    head = inside.commit(WORK | {"lib/x.py": b"1\n"})
    run = inside.run()
    meanwhile(inside.user)
    _, index, _, place = tell(inside.user)
    old = git(inside.user, "rev-parse", "HEAD")
    report = run.apply()
    assert_branch(inside, report, head)
    assert report.paths == ["lib/x.py", "readme", "src/a.py", "src/new.py"]
    assert (tell(inside.user)[1], tell(inside.user)[3]) == (index, place)
    assert git(inside.user, "rev-parse", "HEAD") == old
    assert run.apply() == ApplyReport()
    run.revert()
    assert MADE not in git(inside.user, "for-each-ref")
    assert (tell(inside.user)[1], git(inside.user, "rev-parse", "HEAD")) == (index, old)
    assert (inside.user / "readme").exists()


@pytest.mark.parametrize("root", [True, False], ids=["unrelated", "amended"])
def test_history_that_was_written_anew_is_a_branch_and_never_takes_the_users_commits_away(
    inside: Inside,
    root: bool,  # noqa: FBT001 - one case of two
) -> None:
    if root:
        inside.git("checkout", "--quiet", "--orphan", "new")
        inside.commit(WORK)
        inside.git("branch", "--force", "main")
        inside.git("checkout", "--quiet", "main")
    else:
        inside.commit(WORK, "amended", "--amend")
    head = inside.git("rev-parse", "HEAD").strip()
    report = inside.run().apply()
    assert_branch(inside, report, head)
    assert git(inside.user, "rev-parse", "HEAD").strip() == inside.base
    assert (inside.user / "src/new.py").exists()


def test_a_user_who_wants_a_branch_or_the_files_alone_gets_that(inside: Inside) -> None:
    head = inside.commit(WORK)
    run = inside.run()
    before = {path: state for path, state in freeze(inside.user).items() if not path.startswith(".git/")}
    report = run.apply(commits="branch")
    assert_branch(inside, report, head)
    assert report.paths == []
    assert {path: state for path, state in freeze(inside.user).items() if not path.startswith(".git/")} == before
    assert run.apply(commits="branch") == ApplyReport()
    run.revert()
    count = count_objects(inside.user)
    report = run.apply(commits="files")
    assert (report.forwarded, report.branch) == (None, None)
    assert len(report.paths) == 3
    assert MADE not in git(inside.user, "for-each-ref")
    assert count_objects(inside.user) == count
    assert git(inside.user, "rev-parse", "HEAD").strip() == inside.base


def test_a_branch_of_that_name_with_other_commits_is_left_alone(inside: Inside) -> None:
    inside.commit(WORK)
    git(inside.user, "branch", MADE)
    run = inside.run()
    before = freeze(inside.user)
    with pytest.raises(SandboxApplyError, match=f"branch {MADE} already"):
        run.apply(commits="branch")
    assert freeze(inside.user) == before


@pytest.mark.parametrize("since", ["moved", "stood on"])
def test_a_revert_leaves_a_made_branch_that_the_user_has_touched(inside: Inside, since: str) -> None:
    inside.commit(WORK)
    run = inside.run()
    run.apply(commits="branch")
    git(inside.user, "checkout", "--quiet", MADE)
    if since == "moved":
        git(inside.user, "commit", "--quiet", "--allow-empty", "--message=mine")
        git(inside.user, "checkout", "--quiet", "main")
    before = tell(inside.user)
    run.revert()
    assert tell(inside.user) == before


def went_on(user: Path) -> None:
    git(user, "commit", "--quiet", "--allow-empty", "--message=mine")


def switched(user: Path) -> None:
    git(user, "checkout", "--quiet", "-b", "mine")


def amended(user: Path) -> None:
    git(user, "commit", "--quiet", "--amend", "--message=mine")


@pytest.mark.parametrize("since", [went_on, switched, amended, staged])
def test_a_revert_is_refused_where_the_user_has_gone_on_and_nothing_is_touched(
    inside: Inside, since: Callable[[Path], None]
) -> None:
    inside.commit(WORK)
    run = inside.run()
    run.apply()
    since(inside.user)
    before = freeze(inside.user)
    with pytest.raises(SandboxApplyError, match="nothing was put back"):
        run.revert()
    assert freeze(inside.user) == before


def test_a_conflict_or_a_risk_lets_nothing_of_the_commits_in(inside: Inside) -> None:
    inside.commit(WORK | {".github/workflows/ci.yml": b"on: push\n"})
    last = inside.commit({".github/workflows/ci.yml": None})
    run = inside.run()
    before, count = freeze(inside.user), count_objects(inside.user)
    with pytest.raises(SandboxApplyError, match="runs on your CI servers"):
        run.apply()
    (inside.user / "src/a.py").write_text("mine\n")
    before = freeze(inside.user)
    with pytest.raises(SandboxApplyError, match=r"src/a\.py: changed here"):
        run.apply(risky="allow")
    assert (freeze(inside.user), count_objects(inside.user)) == (before, count)
    git(inside.user, "checkout", "--quiet", "src/a.py")
    assert run.apply(risky="allow").forwarded == "main"
    assert git(inside.user, "rev-parse", "HEAD").strip() == last


def test_a_hostile_commit_is_refused_with_how_to_get_the_files_alone(inside: Inside) -> None:
    inside.commit({".opencode/plugin/x.js": b"x\n"})
    inside.commit(WORK | {".opencode/plugin/x.js": None})
    run = inside.run()
    before = freeze(inside.user)
    with pytest.raises(SandboxApplyError, match=r'would configure OpenCode itself.*commits="files"'):
        run.apply(risky="allow")
    assert freeze(inside.user) == before
    assert run.apply(commits="files").paths == ["readme", "src/a.py", "src/new.py"]


def test_a_bundle_that_git_cannot_read_changes_nothing(inside: Inside) -> None:
    inside.commit(WORK)
    run = inside.run()
    (inside.place / "bundle").write_bytes((inside.place / "bundle").read_bytes()[:-30])
    before = freeze(inside.user)
    with pytest.raises(SandboxApplyError, match="cannot be applied: git"):
        run.apply()
    assert freeze(inside.user) == before


def test_no_hook_or_setting_of_the_users_repository_is_run(inside: Inside, tmp_path: Path) -> None:
    inside.commit(WORK)
    run = inside.run()
    hooks = inside.user / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    names = ("reference-transaction", "post-checkout", "post-merge", "post-index-change", "pre-auto-gc", "update")
    for name in names:
        (hooks / name).write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
        (hooks / name).chmod(0o755)
    (tmp_path / "monitor").write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    (tmp_path / "monitor").chmod(0o755)
    git(inside.user, "config", "core.fsmonitor", str(tmp_path / "monitor"))
    git(inside.user, "config", "core.hooksPath", str(hooks))
    (tmp_path / "ran").unlink(missing_ok=True)
    assert run.apply().forwarded == "main"
    run.revert()
    run.apply(commits="branch")
    run.revert()
    assert not (tmp_path / "ran").exists()


def test_a_shallow_clone_moves_forward(user: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{user}", "shallow")
    (tmp_path / "place").mkdir()
    inside = Inside(tmp_path / "shallow", tmp_path / "place")
    head = inside.commit(WORK)
    run = inside.run()
    assert run.apply().forwarded == "main"
    assert git(inside.user, "rev-parse", "HEAD").strip() == head
    assert git(inside.user, "status", "--porcelain") == ""
    run.revert()
    assert git(inside.user, "rev-parse", "HEAD").strip() == inside.base


def test_a_sub_folders_commits_move_the_branch_of_the_whole_repository(user: Path, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    inside = Inside(user, tmp_path / "place", prefix="src/")
    inside.commit({"src/b.py": b"b\n"})
    run = inside.run()
    report = run.apply()
    assert (report.paths, report.forwarded) == (["b.py"], "main")
    assert tell(user) == tell(inside.repository)
    run.revert()
    assert git(user, "status", "--porcelain") == ""


def test_the_first_commits_of_all_are_a_branch(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "--template=", "user")
    inside = Inside(tmp_path / "user", tmp_path)
    head = inside.commit({"a": b"1\n"})
    assert_branch(inside, inside.run().apply(), head)


def test_the_user_need_not_be_in_a_repository_any_more(inside: Inside) -> None:
    inside.commit(WORK)
    run = inside.run()
    shutil.rmtree(inside.user / ".git")
    report = run.apply()
    assert (report.paths, report.forwarded, report.branch) == (["readme", "src/a.py", "src/new.py"], None, None)


def test_a_path_of_any_bytes_is_committed_as_it_is(inside: Inside) -> None:
    inside.commit({os.fsdecode(b'caf\xe9 \n"x'): b"1\n", "src/new\tline": b"2\n"})
    inside.run().apply()
    assert tell(inside.user) == tell(inside.repository)
    assert tell(inside.user)[0] == ""


def test_something_in_the_way_takes_back_the_branch_that_was_made(inside: Inside) -> None:
    inside.commit(WORK)
    run = inside.run()
    committed(inside.user)
    (inside.user / "src/new.py").mkdir()
    before, files = tell(inside.user), freeze(inside.user / "src")
    with pytest.raises(SandboxApplyError, match=r"src/new\.py"):
        run.apply()
    assert (tell(inside.user), freeze(inside.user / "src")) == (before, files)
    with pytest.raises(SandboxApplyError, match="Nothing is known"):
        run.revert()


@pytest.mark.parametrize("meanwhile", [committed, None])
def test_after_an_apply_that_was_killed_branch_and_files_can_be_put_back(
    inside: Inside, meanwhile: Callable[[Path], None] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside.commit(WORK)
    run = inside.run()
    if meanwhile is not None:
        meanwhile(inside.user)
    before, files, steps = tell(inside.user), files_of(inside.user), list[str]()
    with monkeypatch.context() as patched:
        patched.setattr(tree_module, "_step", steps.append)
        run.apply()
    run.revert()
    first = next(at for at, name in enumerate(steps) if "/old/" in name)
    done = next(at for at, name in enumerate(steps) if name.endswith("done.json"))
    for number in {0, first, done - 1, done, len(steps) - 1}:
        child = os.fork()
        if child == 0:
            taken: list[str] = []

            def die(name: str, *, taken: list[str] = taken, number: int = number) -> None:
                taken.append(name)
                if len(taken) > number:
                    os.kill(os.getpid(), signal.SIGKILL)

            tree_module._step = die
            run.apply()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        run.revert()
        assert (tell(inside.user), files_of(inside.user)) == (before, files), steps[number]


def test_a_linked_work_trees_own_branch_moves_forward(user: Path, tmp_path: Path) -> None:
    git(user, "worktree", "add", "--quiet", "-b", "linked", str(tmp_path / "linked"))
    (tmp_path / "place").mkdir()
    inside = Inside(user, tmp_path / "place")
    inside.git("checkout", "--quiet", "--ignore-other-worktrees", "linked")
    inside.user, inside.branch = tmp_path / "linked", "linked"
    head = inside.commit(WORK)
    run = inside.run()
    assert run.apply().forwarded == "linked"
    assert git(tmp_path / "linked", "rev-parse", "linked").strip() == head
    assert git(tmp_path / "linked", "status", "--porcelain") == git(user, "status", "--porcelain") == ""
    run.revert()
    assert git(user, "rev-parse", "linked", "main").split() == [inside.base] * 2
