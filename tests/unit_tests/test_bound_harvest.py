"""A mounted folder before and after, with no container: the test plays the agent."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from repositories import commit, forget_settings, git, init, write

from langchain_sandbox.config import Limits
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.workspace.applying.revert import revert_changes
from langchain_sandbox.workspace.bound.folder import prepare
from langchain_sandbox.workspace.carriage import Bind, Yield
from langchain_sandbox.workspace.outbound.receiver import ChangesReceiver
from langchain_sandbox.workspace.paths import STAGING
from langchain_sandbox.workspace_config import Workspace

RUN = "0123456789ab"
RENAMED = f".sandbox-{RUN}"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget_settings(monkeypatch, tmp_path / "home")
    git(tmp_path, "config", "--global", "safe.directory", "*")
    return init(tmp_path / "project")


def run(root: Path, act: Callable[[], object], *, kept: Path | None = None, limits: Limits | None = None) -> Yield:
    if os.getuid() == 0:
        os.chown(root, 1000, 1000)
    limits = limits or Limits()
    folder = prepare(Workspace(root, mode="bind"), limits, target="/run/ws/repo", private=[])
    bind = Bind(folder, lock=ExitStack(), run_id=RUN, limits=limits)
    try:
        act()
        receiver = ChangesReceiver(limits, acknowledge=lambda _data: None)
        found = bind.collect(receiver)
        receiver.close()
        if kept is not None:
            bind.settle(found, RunFolder(kept))
        found.close()
        return found
    finally:
        bind.close()


def shell(root: Path, script: str) -> Callable[[], object]:
    return lambda: subprocess.run(["sh", "-ec", script], cwd=root, check=True, capture_output=True)


def kinds(found: Yield) -> dict[str, str]:
    return {file.path: file.kind for file in found.patch.files}


def test_every_kind_of_change_is_told_and_taken_back(root: Path, tmp_path: Path) -> None:
    commit(root, a="a\n", b="b\n", gone="gone\n", mode="m\n", f="file\n", **{"d/x": "x\n"})
    write(root, untracked="u\n")
    script = (
        "echo more >> a; rm gone; chmod +x mode; echo new > new; ln -s a link; rm b; ln -s /etc b; echo v >> untracked;"
        "rm f; mkdir f; echo in > f/in; rm d/x; rmdir d; echo d > d"
    )
    found = run(root, shell(root, script), kept=tmp_path / "kept")
    assert kinds(found).keys() == {"a", "gone", "mode", "new", "link", "b", "untracked", "f", "f/in", "d", "d/x"}
    revert_changes(root, tmp_path / "kept" / "applied")
    assert git(root, "status", "--porcelain") == "?? untracked\n"
    assert (root / "untracked").read_text() == "u\n"


def test_nothing_done_is_nothing_told(root: Path) -> None:
    commit(root, a="a\n", **{".gitignore": "x\n"})
    write(root, x="ignored\n", u="untracked\n")
    assert kinds(run(root, lambda: None)) == {}


@pytest.mark.parametrize("where", ["config", "exclude", "unignored", "nested", "above"])
def test_what_git_ignored_before_is_never_told_as_new_nor_taken_away(root: Path, tmp_path: Path, where: str) -> None:
    commit(root, a="a\n", **{".gitignore": "data/\n" if where == "unignored" else "*.log\n", "sub/s": "s\n"})
    write(root, **{"data/precious": "p", "x.mine": "p", "sub/x.log": "p"})
    act = shell(root, "true")
    folder = root
    if where == "config":
        write(tmp_path, ignore="data/\nx.mine\n")
        git(root, "config", "core.excludesFile", str(tmp_path / "ignore"))
    if where == "exclude":
        write(root, **{".git/info/exclude": "data/\nx.mine\n"})
    if where == "unignored":
        git(root, "add", "x.mine")
        git(root, "add", "sub/x.log")
        act = shell(root, "echo > .gitignore")
    if where == "nested":
        init(root / "inner")
        write(root, **{"inner/.git/info/exclude": "key\n", "inner/key": "p"})
    if where == "above":
        folder = root / "sub"
        if os.getuid() == 0:
            os.chown(folder, 1000, 1000)
    found = run(folder, act, kept=tmp_path / "kept")
    assert set(kinds(found)) <= {".gitignore"}
    revert_changes(folder, tmp_path / "kept" / "applied")
    assert (root / "data/precious").read_text() == "p"
    assert (root / "sub/x.log").read_text() == "p"
    assert where != "nested" or (root / "inner/key").exists()


@pytest.mark.parametrize("told", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_was_told_not_to_look_at_is_put_back_as_the_user_had_it(
    root: Path, tmp_path: Path, told: str
) -> None:
    commit(root, settings="theirs\n")
    git(root, "update-index", told, "settings")
    write(root, settings="mine!!\n")
    run(root, shell(root, "echo agent > settings"), kept=tmp_path / "kept")
    revert_changes(root, tmp_path / "kept" / "applied")
    assert (root / "settings").read_text() == "mine!!\n"


@pytest.mark.parametrize("name", [".git", ".GIT", ".git ", "git~1", ".g\u200cit", ".git:x", ".git" + "\u200c" * 80])
@pytest.mark.parametrize("where", ["", "deep/er/", "ignored/", "selfmade/"])
def test_a_repository_that_came_about_is_renamed_wherever_it_is(root: Path, name: str, where: str) -> None:
    if not where:
        where = "top/"
    commit(root, **{".gitignore": "ignored/\n"})

    def act() -> None:
        write(root, **{f"{where}{name}/config": "evil", "selfmade/.gitignore": "*\n"})

    found = run(root, act)
    assert not (root / where / name).exists()
    assert any("would obey it" in warning for warning in found.warnings)


@pytest.mark.parametrize("head", ["HEAD", "head"])
@pytest.mark.parametrize("where", ["bare", "ignored/bare"])
def test_a_bare_repository_that_came_about_is_none_any_more(root: Path, where: str, head: str) -> None:
    commit(root, **{".gitignore": "ignored/\n"})
    script = f"mkdir -p {where}; git init -q --bare {where}; mv {where}/HEAD {where}/x; mv {where}/x {where}/{head}"
    run(root, shell(root, script))
    assert not (root / where / head).exists()
    assert (root / where / f"{head}{RENAMED}").exists()


def test_a_bare_repository_that_was_there_stays_one(root: Path) -> None:
    init(root / "fixture", "--bare")
    write(root, **{"other/.GIT/x": "x"})
    found = run(root, lambda: None)
    assert (root / "fixture/HEAD").exists()
    assert (root / "other/.GIT/x").exists()
    assert found.warnings == []


@pytest.mark.parametrize("name", [".git", ".opencode"])
def test_a_covered_place_cannot_be_taken_by_moving_the_folder_around_it(root: Path, name: str) -> None:
    commit(root, a="a")
    write(root, **{f"sub/{name}/config": "mine", "sub/x": "x"})
    if name == ".git":
        init(root / "sub")
    found = run(root, shell(root, f"mv sub away; mkdir -p sub/{name}; echo evil > sub/{name}/config"))
    assert not (root / "sub" / name).exists()
    assert (root / "sub" / f"{name}{RENAMED}" / "config").read_text() == "evil\n"
    assert (root / "away" / name).is_dir()
    assert any("was elsewhere" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "path", ["opencode.json", "x/OpenCode.jsonc", ".opencode/plugin/p.js", "ignored/opencode.json"]
)
def test_settings_of_opencode_that_came_about_are_renamed(root: Path, path: str) -> None:
    commit(root, **{".gitignore": "ignored/\n"})
    run(root, lambda: write(root, **{path: "{}"}))
    assert not (root / path).exists()


def test_the_new_name_may_be_taken_already(root: Path) -> None:
    commit(root, a="a")
    run(root, shell(root, f"mkdir -p s/.git s/.git{RENAMED}; echo x > s/.git{RENAMED}/x"))
    assert not (root / "s/.git").exists()


def test_pipes_are_named_and_rights_are_taken_off(root: Path) -> None:
    commit(root, **{".gitignore": "ignored/\n"})
    script = "mkfifo pipe; mkdir ignored; for f in tool ignored/tool; do echo x > $f; chmod 6755 $f; done"
    found = run(root, shell(root, script))
    assert kinds(found) == {"tool": "added"}
    assert (root / "tool").stat().st_mode & 0o7777 == 0o755
    assert (root / "ignored/tool").stat().st_mode & 0o7777 == 0o755
    assert any("pipe is neither" in warning for warning in found.warnings)


def test_a_program_with_rights_that_is_too_big_to_be_told_loses_them_all_the_same(root: Path) -> None:
    commit(root, a="a")
    script = "head -c 2000000 /dev/zero > tool; chmod 4755 tool"
    found = run(root, shell(root, script), limits=Limits(changes="1m"))
    assert (root / "tool").stat().st_mode & 0o7777 == 0o755
    assert any("too big to be told" in warning for warning in found.warnings)


def test_ten_thousand_pipes_are_not_ten_thousand_warnings(root: Path) -> None:
    def act() -> None:
        for at in range(500):
            os.mkfifo(root / f"p{at}")

    assert len(run(root, act).warnings) < 110


def test_names_of_any_bytes_and_deep_folders_are_told_and_taken_back(root: Path, tmp_path: Path) -> None:
    commit(root, a="a")
    deep = "/".join(["d"] * 200)
    names = {"caf\udce9": "x", ":(exclude)x": "x", "new\nline": "x", f"{deep}/x": "x"}
    found = run(root, lambda: write(root, **names), kept=tmp_path / "kept")
    assert len(found.patch.files) == len(names)
    revert_changes(root, tmp_path / "kept" / "applied")
    assert git(root, "status", "--porcelain") == ""


def test_a_name_that_looks_like_a_pathspec_does_not_unhide_what_is_ignored(root: Path) -> None:
    commit(root, **{".gitignore": "ignored\n"})
    found = run(root, lambda: write(root, **{":(exclude)x": "x", ":!y": "y", "ignored": "i"}))
    assert "ignored" not in kinds(found)


def test_a_path_too_long_to_be_looked_at_is_a_warning_and_the_rest_is_told(root: Path) -> None:
    commit(root, a="a")

    def act() -> None:
        write(root, new="x")
        here = os.open(root, os.O_RDONLY)
        for _ in range(20):
            os.mkdir("n" * 250, dir_fd=here)
            inner = os.open("n" * 250, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(here)

    found = run(root, act)
    assert kinds(found) == {"new": "added"}
    assert any("cannot be looked through" in warning for warning in found.warnings)
    subprocess.run(["rm", "-rf", "n" * 250], cwd=root, check=True)


def test_rights_that_were_taken_from_the_owner_hide_nothing(tmp_path: Path) -> None:
    """In a process of a user who is not root: to root nothing is closed."""
    program = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from test_bound_harvest import run, kinds, shell
root = Path(sys.argv[1])
found = run(root, shell(root, "mkdir -p s/.git; echo x > s/f; chmod 0 s/f; chmod 0 s; chmod 500 ."))
assert set(kinds(found)) == {{"s/f"}}, (kinds(found), found.warnings)
assert not (root / "s/.git").exists()
"""
    here = tmp_path / "p"
    here.mkdir()
    command = [sys.executable, "-c", program, str(here)]
    if os.getuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):
            if "pytest-of-" in str(folder):
                folder.chmod(0o755)
        os.chown(here, 1000, 1000)
        somebody = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
        if subprocess.run([*somebody, sys.executable, "-c", "import pytest"], check=False).returncode:
            pytest.skip("nobody but root can run this Python")
        command = [*somebody, *command]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parent,
        check=False,
        capture_output=True,
        env={**os.environ, "HOME": str(here.parent)},
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_the_agent_wrote_configures_no_git_of_the_host(root: Path, tmp_path: Path) -> None:
    commit(root, a="a\n")
    told = tmp_path / "told"
    config = "".join(f"[trace2]\n\t{kind}Target = {told}\n" for kind in ("normal", "event", "perf"))
    found = run(root, lambda: write(root, a="b\n", **{".gitconfig": config, "git/config": config}))
    assert found.patch.files
    assert not told.exists()


def test_what_the_users_tools_obey_is_named_although_the_agent_had_git_ignore_it(root: Path) -> None:
    commit(root, a="a\n")
    found = run(root, lambda: write(root, **{".vscode/tasks.json": "{}", ".vscode/.gitignore": "*\n", "b": "b"}))
    assert kinds(found) == {"b": "added"}
    assert any(".vscode/tasks.json" in warning for warning in found.warnings)


def test_a_journal_of_the_containers_is_not_what_we_obey_later(root: Path) -> None:
    commit(root, a="a\n")
    found = run(root, lambda: write(root, **{".langchain-sandbox.apply/journal.json": "{}", "b": "b\n"}))
    assert not (root / STAGING).exists()
    assert [warning for warning in found.warnings if STAGING in warning]
    assert "b" in kinds(found)


def test_a_pipe_where_git_reads_rules_holds_nothing_up(root: Path) -> None:
    commit(root, a="a\n", **{"sub/b": "b\n"})
    found = run(root, shell(root, "mkfifo .gitignore sub/.gitignore; echo x > new; mkdir sub/.git"))
    assert "new" in kinds(found)
    assert not (root / ".gitignore").exists()
    assert not (root / "sub/.git").exists()


def test_a_name_that_ends_early_somewhere_is_told_no_more(root: Path) -> None:
    commit(root, a="a\n")
    found = run(root, lambda: write(root, **{".git::$INDEX_ALLOCATION/config": "x", "b": "b\n"}))
    assert not [path for path in kinds(found) if path.startswith(".git:")]
    assert not [path for path in root.iterdir() if path.name.startswith(".git:")]


def test_folders_that_come_back_have_their_permissions(root: Path, tmp_path: Path) -> None:
    commit(root, **{"secret/key": "k\n"})
    (root / "secret").chmod(0o700)
    kept = tmp_path / "kept"
    kept.mkdir()
    run(root, shell(root, "rm -r secret"), kept=kept)
    revert_changes(root, RunFolder(kept).applied)
    assert (root / "secret/key").read_text() == "k\n"
    assert (root / "secret").stat().st_mode & 0o777 == 0o700
