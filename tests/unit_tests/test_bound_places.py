"""Which folders may be mounted, and what of them is covered."""

import os
import socket
from pathlib import Path

import pytest
from repositories import commit, forget_settings, git, init, write

from langchain_sandbox.config import Limits
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.workspace.bound.folder import BoundFolder, prepare
from langchain_sandbox.workspace.bound.places import check_place, find_place_fault, search
from langchain_sandbox.workspace_config import Workspace

OWNER = 1000
TARGET = "/run/ws/repo"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget_settings(monkeypatch, tmp_path / "home")
    git(tmp_path, "config", "--global", "safe.directory", "*")
    return init(tmp_path / "project")


def own(root: Path) -> None:
    if os.getuid() == 0:
        os.chown(root, OWNER, OWNER)


def mount(root: Path, **options: object) -> BoundFolder:
    own(root)
    folder = prepare(Workspace(root, mode="bind", **options), Limits(), target=TARGET, private=[])  # type: ignore[arg-type]
    folder.close()
    return folder


@pytest.mark.parametrize(
    "folder",
    [
        *("/", "/home", "/home/me", "/home/other", "/Users", "/Users/x", "/home/me/.ssh", "/home/me/.config/app"),
        *("/home/other/.ssh", "/home/other/.config/app", "/etc", "/etc/app", "/usr/src/x", "/var/lib/x", "/run/x"),
        *("/proc/1", "/dev/shm", "/srv", "/srv/state/runs", "/srv/state"),
    ],
)
def test_what_holds_more_than_a_project_is_no_place(folder: str) -> None:
    private = [Path("/srv/state")]
    assert find_place_fault(Path(folder), home=Path("/home/me"), private=private) is not None


@pytest.mark.parametrize("folder", ["/home/me/x", "/home/me/x/.y", "/home/other/x", "/srv/x", "/opt/x", "/var/tmp/x"])
def test_a_project_is_a_place(folder: str) -> None:
    assert find_place_fault(Path(folder), home=Path("/home/me"), private=[Path("/srv/state")]) is None


def test_a_home_below_the_systems_folders_has_places_too() -> None:
    assert find_place_fault(Path("/var/lib/me/x"), home=Path("/var/lib/me"), private=[]) is None


@pytest.mark.usefixtures("root")
def test_a_link_does_not_lead_around_it(tmp_path: Path) -> None:
    keys = tmp_path / "home" / ".ssh"
    keys.mkdir()
    (tmp_path / "innocent").symlink_to(keys)
    with pytest.raises(SandboxConfigError, match="settings and keys"):
        check_place(tmp_path / "innocent", private=[])


def test_a_socket_at_any_depth_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, **{"a/b/x": ""})
    own(root)
    monkeypatch.chdir(root / "a/b")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        with pytest.raises(SandboxConfigError, match="a socket in it"):
            check_place(root, private=[])


def test_a_folder_of_roots_is_refused(root: Path) -> None:
    if os.getuid() == 0:
        with pytest.raises(SandboxConfigError, match="belongs to root"):
            check_place(root, private=[])


def test_all_that_is_to_be_covered_is_found_and_nothing_below_it(root: Path) -> None:
    init(root / "inner")
    write(root, **{"x/.opencode/plugin/p.js": "", "x/opencode.json": "", "w/.git": "gitdir: /elsewhere", "plain": ""})
    finds = search(root)
    assert set(finds.repositories) == {".git", "inner/.git", "w/.git"}
    assert set(finds.settings) == {"x/.opencode", "x/opencode.json"}
    assert finds.files == {"plain"}


def test_nothing_goes_in_of_the_configuration_but_how_to_read_the_files_and_the_identity(root: Path) -> None:
    commit(root, a="a")
    git(root, "remote", "add", "origin", "https://user:s3cret@example.org/x")
    git(root, "config", "user.name", 'A "b" \\ c')
    git(root, "config", "core.fsmonitor", "evil")
    git(root, "config", "core.autocrlf", "input")
    own(root)
    folder = prepare(Workspace(root, mode="bind"), Limits(), target=TARGET, private=[])
    config = next(Path(str(m.source)) for m in folder.mounts if m.target == f"{TARGET}/.git/config")
    told = git(root, "config", "--file", str(config), "--list")
    folder.close()
    assert "s3cret" not in told
    assert "evil" not in told
    assert 'user.name=A "b" \\ c\n' in told
    assert "core.autocrlf=input\n" in told
    assert not config.exists()


def test_configurations_of_submodules_and_worktrees_are_covered(root: Path) -> None:
    write(root, **{".git/modules/s/config": "secret", ".git/worktrees/w/HEAD": "", ".git/config.worktree": "[a]\n"})
    targets = {m.target: m.access for m in mount(root).mounts}
    for name in ("modules", "worktrees", "config.worktree"):
        assert targets[f"{TARGET}/.git/{name}"] == "read-only"


def test_each_nested_repository_and_setting_is_covered(root: Path) -> None:
    init(root / "inner")
    write(root, **{"opencode.json": "{}", "w/.git": "gitdir: /elsewhere"})
    mounts = {m.target.removeprefix(f"{TARGET}/"): m for m in mount(root).mounts}
    assert mounts["inner/.git"].source is None
    for path in ("opencode.json", "w/.git"):
        assert str(mounts[path].source).endswith("/empty")
        assert mounts[path].access == "read-only"


def test_a_link_in_a_place_that_has_to_be_covered_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub/.git").symlink_to(tmp_path)
    with pytest.raises(SandboxConfigError, match="is a link, which nothing can cover"):
        mount(root)


def test_what_cannot_be_covered_by_its_name_is_refused(root: Path) -> None:
    write(root, **{"caf\udce9/opencode.json": "{}"})
    with pytest.raises(SandboxConfigError, match=r"caf\\xe9/opencode.json is no UTF-8"):
        mount(root)


def test_exclude_is_refused_since_it_would_keep_nothing_outside(root: Path) -> None:
    with pytest.raises(SandboxConfigError, match="exclude"):
        mount(root, exclude=["secret*"])
