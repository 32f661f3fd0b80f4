"""The mode `bind`: the agent works in the user's folder itself, and the host sees all the same what it did."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import bash, git, make_repository, say, told, wait_until, write

from langchain_sandbox import Limits, Revision, Sandbox, SandboxConfigError, Workspace
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OWNER = 1000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository of somebody who is not root; git believes that we may look at it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    git(tmp_path, "config", "--global", "safe.directory", "*")
    root = make_repository(
        tmp_path / "project",
        {"calc.py": "def add(a, b):\n    return a - b\n", "data/old.txt": "old\n", ".gitignore": "build/\n"},
    )
    git(root, "remote", "add", "origin", "https://user:s3cret@example.com/repo.git")
    (root / "untracked.txt").write_text("not in git\n")
    (root / "calc.py").write_text("def add(a, b):\n    return a - b  # edited\n")
    own(root)
    yield root
    subprocess.run(["chown", "-R", "0:0", str(tmp_path)], check=True)


def own(root: Path) -> None:
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", f"{OWNER}:{OWNER}", str(root)], check=True)


def state_of(root: Path) -> dict[str, tuple[int, bytes]]:
    found = {}
    for inside, _, names in os.walk(root):
        for name in names:
            path = Path(inside) / name
            content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            found[path.relative_to(root).as_posix()] = (path.lstat().st_mode, content)
    return found


def test_the_agent_works_in_the_folder_and_all_of_it_is_told_and_can_be_put_back(folder: Path) -> None:
    before = state_of(folder)
    work = (
        "git status --short; git log --oneline; git remote -v; cat .git/config; "
        "sed -i 's/a - b/a + b/' calc.py; git mv -f data/old.txt data/new.txt 2>&1 || mv data/old.txt data/new.txt; "
        "mkdir -p build pkg; echo junk > build/junk; echo x > pkg/mod.py; chmod +x pkg/mod.py; echo y >> untracked.txt"
    )
    with ScriptedModel([bash(work), write("hello.txt", "hello\n"), say()]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=Workspace(folder, mode="bind"))
        result = sandbox.run("Change it.")
        seen = told(model)[0]
    assert result.ok, result.ending
    assert result.applied
    assert "first" in seen
    assert "?? untracked.txt" in seen
    assert "s3cret" not in seen
    assert {file.path: file.kind for file in result.files} == {
        "calc.py": "modified",
        "data/new.txt": "renamed",
        "hello.txt": "added",
        "pkg/mod.py": "added",
        "untracked.txt": "modified",
    }
    assert "a + b" in (folder / "calc.py").read_text()
    assert (folder / "build/junk").exists()
    assert (folder / "hello.txt").stat().st_uid == folder.stat().st_uid
    assert sandbox.apply(result).paths == []  # it is there already

    sandbox.revert(result)
    (folder / "build/junk").unlink()
    (folder / "build").rmdir()
    assert state_of(folder) == before


def test_git_is_out_of_reach_and_what_it_would_obey_is_made_harmless(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    evil = f"[core]\\n\\tfsmonitor = touch {marker}\\n\\tbare = false\\n"
    attack = (
        "echo x > .git/hooks/pre-commit; echo x >> .git/config; rm -rf .git; mv .git .gitold; "
        f"mkdir -p sub && cd sub && git init -q . && printf '{evil}' > .git/config && cd .. ; "
        f"mkdir bare && cd bare && git init -q --bare . && printf '{evil}' > config && cd ..; "
        "echo '{}' > opencode.json; mkdir -p x/.opencode/plugin; echo evil > x/.opencode/plugin/p.js; "
        "cp /bin/true tool; chmod 4755 tool; ls -la .git | head -3"
    )
    git_before = state_of(folder / ".git")
    with ScriptedModel([bash(attack), say()]) as model:
        result = Sandbox(model=model.endpoint, workspace=Workspace(folder, mode="bind")).run("Attack.")
    assert result.status == "completed", result.ending
    assert state_of(folder / ".git") == git_before
    assert not list(folder.rglob("opencode.json"))
    assert [path for path in folder.rglob(".git") if path.parent != folder] == []
    assert (folder / "tool").stat().st_mode & 0o6000 == 0
    # The fifth is the copy that `mv` makes of what it cannot move.
    assert len([warning for warning in result.warnings if "would obey" in warning]) == 5, result.warnings
    own(folder)
    for command in (["status"], ["diff"], ["add", "-A"], ["commit", "-qm", "x"], ["-C", "bare", "status"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=folder, check=False)
    assert not marker.exists()


def test_a_repositorys_own_plugins_are_covered(folder: Path) -> None:
    plugin = folder / ".opencode/plugin/evil.js"
    plugin.parent.mkdir(parents=True)
    plugin.write_text('require("fs").writeFileSync("/run/ws/repo/PWNED", "x")\n')
    (folder / "opencode.json").write_text('{"provider": {"sandbox": {"options": {"baseURL": "http://127.0.0.1:9"}}}}')
    own(folder)
    with ScriptedModel([bash("ls -a .opencode; wc -c < opencode.json"), say()]) as model:
        result = Sandbox(model=model.endpoint, workspace=Workspace(folder, mode="bind")).run("Look.")
    assert result.ok, result.ending
    assert not (folder / "PWNED").exists()
    assert result.files == []
    assert plugin.read_text().startswith("require")


def test_a_run_that_ends_badly_leaves_its_work_marked_as_partial(folder: Path) -> None:
    with ScriptedModel([bash("echo half > half.txt; sleep 600")]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=Workspace(folder, mode="bind"))
        with sandbox.start("Take long.") as handle:
            wait_until((folder / "half.txt").exists, 60)
            handle.cancel()
            result = handle.result()
    assert result.status == "cancelled"
    assert result.partial
    assert result.applied
    assert [file.path for file in result.files] == ["half.txt"]
    sandbox.revert(result)
    assert not (folder / "half.txt").exists()


def test_a_run_that_goes_on_from_an_earlier_one_finds_its_changes_where_they_are(folder: Path) -> None:
    script = [bash("echo 1 > new"), say(), bash("cat new; echo 2 >> new"), say()]
    with ScriptedModel(script) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=Workspace(folder, mode="bind"))
        earlier = sandbox.run("Write it.")
        result = sandbox.run(revision=Revision(earlier, "Go on."))
        assert told(model) == ["1\n"]
        assert "in the working tree already" in str(model.requests[-1].messages)
    assert (folder / "new").read_text() == "1\n2\n"
    assert [(file.path, file.kind) for file in result.files] == [("new", "modified")]
    sandbox.revert(result)
    assert (folder / "new").read_text() == "1\n"


def test_a_file_has_a_limit_there(folder: Path) -> None:
    command = "head -c 3000000 /dev/zero > big; ls -l big | cut -d' ' -f5"
    with ScriptedModel([bash(command), say()]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=Workspace(folder, mode="bind"), limits=Limits(changes="1m"))
        sandbox.run("Fill the disk.")
    assert (folder / "big").stat().st_size == 1024 * 1024


@pytest.mark.parametrize(
    "place", ["root", "home", "above home", "ssh", "link to ssh", "socket", "etc", "owned by root"]
)
def test_what_holds_more_than_a_project_is_refused(
    folder: Path, tmp_path: Path, place: str, record_property: Callable[[str, object], None]
) -> None:
    home = Path.home()
    (home / ".ssh").mkdir()
    target = {
        "root": Path("/"),
        "home": home,
        "above home": tmp_path,
        "ssh": home / ".ssh",
        "link to ssh": folder / "link",
        "socket": folder,
        "etc": Path("/etc"),
        "owned by root": folder / "roots",
    }[place]
    if place == "link to ssh":
        target.symlink_to(home / ".ssh")
    if place == "owned by root":
        target.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    if place == "socket":
        os.chdir(folder)
        listener.bind("engine.sock")
    with ScriptedModel([say()]) as model, pytest.raises(SandboxConfigError, match="is not mounted"):
        Sandbox(model=model.endpoint, workspace=Workspace(target, mode="bind")).run("Look.")
    listener.close()
    record_property("H10", f"{place}: refused")


def test_it_has_to_be_said_that_the_folder_is_changed(folder: Path) -> None:
    with ScriptedModel([say()]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=Workspace(folder, mode="bind"))
        with pytest.raises(SandboxConfigError, match='changes="apply"'):
            sandbox.run("Look.", changes="return")


def test_a_covered_folder_cannot_be_swapped_by_moving_the_one_above_it(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    inner = make_repository(folder / "lib", {"x.py": "x\n"})
    own(inner)
    before = state_of(inner / ".git")
    evil = f"[core]\\n\\trepositoryformatversion = 0\\n\\tfsmonitor = touch {marker}\\n\\tbare = false\\n"
    attack = (
        f"mv lib old; mkdir lib; cd lib && git init -q . ; printf '{evil}' > .git/config; cd ..; "
        f"mkdir -p build/y && cd build/y && git init -q . ; printf '{evil}' > .git/config; ls -a /run/ws/repo/lib"
    )
    with ScriptedModel([bash(attack), say()]) as model:
        result = Sandbox(model=model.endpoint, workspace=Workspace(folder, mode="bind")).run("Attack.")
    assert result.status == "completed", result.ending
    assert (folder / "old/x.py").exists()  # the move is possible: it has to be seen afterwards
    assert state_of(folder / "old/.git") == before
    for place in ("lib", "build/y"):
        assert not (folder / place / ".git").exists()
        subprocess.run(["git", "-C", str(folder / place), "status"], check=False)
    assert not marker.exists()
