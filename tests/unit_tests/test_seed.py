"""An earlier run's changes, laid over what goes in: on the host's side, and then on the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from copies import Collector, stand_in
from hypothesis import given, settings
from runs import Run, make_into, make_result, run_between
from trees import Tree, put_down, read, trees

from langchain_sandbox.agent import arrival, seed
from langchain_sandbox.config import Limits
from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError
from langchain_sandbox.link import Channel, Data, End, FileStream, LinkEvent, Message
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.workspace.applying.apply_result import apply_result, revert_result
from langchain_sandbox.workspace.applying.seed import Seed, describe_change, plan_seed, require_applied
from langchain_sandbox.workspace.content import pieces
from langchain_sandbox.workspace.inbound.snapshot import EXECUTABLE, FILE, SYMLINK, take_snapshot
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.outbound.patch import Patch
from langchain_sandbox.workspace_config import ApplyPolicy


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SANDBOX_STATE_DIR", str(tmp_path / "state"))


def result_of(run: Run, **fields: Any) -> SandboxResult:
    """Its result, with the former contents kept as a run keeps them."""
    folder = RunFolder.of("0123456789ab")
    folder.base("x").parent.mkdir(parents=True, exist_ok=True)
    for blob, content in run.bases.items():
        folder.base(blob).write_bytes(content)
    usual = {
        "patch": run.patch.decode(),
        "receipt": {"package": "0", "patch_sha256": Patch(run.patch).sha256},
        "workspace": {"root": str(run.root)},
        "files": [{"path": "a", "kind": "added"}],
    }
    return make_result(**{**usual, **fields})


def forge(root: Path, patch: str) -> SandboxResult:
    return result_of(Run(root, patch.encode()))


def plan(root: Path | None, result: SandboxResult, limits: Limits | None = None) -> Seed:
    snapshot = take_snapshot(root, limits or Limits())
    found = plan_seed(result, snapshot, limits or Limits())
    for at, change in enumerate(found.changes):  # the snapshot's contents go with it
        found.changes[at] = Change(change.path, change.mode, b"".join(pieces(change.content)))
    snapshot.close()
    found.close()
    return found


def tell(found: Seed) -> list[LinkEvent]:
    """What the container is sent."""
    said: list[LinkEvent] = []
    for change in found.changes:
        body = describe_change(change)
        said.append(Message(Channel.FILES, FileStream.SEED, body))
        if body["kind"] == "file" and change.content:
            said.append(Data(Channel.FILES, FileStream.SEED, b"".join(pieces(change.content))))
    return [*said, End(Channel.FILES, FileStream.SEED)]


def lay(folder: Path, said: list[LinkEvent]) -> set[str]:
    return seed.lay_down(str(folder), iter(said).__next__, acknowledge=lambda _: None)


def add(path: str, *, mode: str = "100644", content: str = "x") -> str:
    return (
        f"diff --git a/{path} b/{path}\nnew file mode {mode}\nindex {'0' * 40}..{'1' * 40}\n"
        f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{content}\n"
    )


@settings(max_examples=40)
@given(trees())
def test_what_is_laid_down_is_what_the_earlier_run_made(
    tmp_path_factory: pytest.TempPathFactory, change: tuple[Tree, Tree]
) -> None:
    old, new = change
    place = tmp_path_factory.mktemp("place")
    run = run_between(place / "root", old, new)
    copy = place / "copy"
    copy.mkdir()
    put_down(copy, old)
    found = plan(run.root, result_of(run))
    assert lay(copy, tell(found)) == {each.path for each in found.changes}
    assert read(copy) == new
    assert read(run.root) == old


def test_deletions_come_first_and_the_tree_stays_as_it_is(tmp_path: Path) -> None:
    old: Tree = {"z": (FILE, b"z\n"), "d/inside": (FILE, b"1\n")}
    run = run_between(tmp_path / "root", old, {"a": (FILE, b"a\n"), "d": (FILE, b"1\n")})
    assert [(each.path, each.mode) for each in plan(run.root, result_of(run)).changes] == [
        ("d/inside", None),
        ("z", None),
        ("a", FILE),
        ("d", FILE),
    ]
    assert read(run.root) == old


def test_where_the_tree_moved_on_it_is_merged(tmp_path: Path) -> None:
    run = run_between(tmp_path / "root", {"f": (FILE, b"1\n2\n3\n4\n5\n")}, {"f": (FILE, b"1\n2\n3\n4\nfive\n")})
    (run.root / "f").write_bytes(b"one\n2\n3\n4\n5\n")
    (change,) = plan(run.root, result_of(run)).changes
    assert change.content == b"one\n2\n3\n4\nfive\n"


def test_a_conflict_names_the_files_and_says_what_to_do(tmp_path: Path) -> None:
    old: Tree = {"f": (FILE, b"1\n"), "g": (FILE, b"1\n")}
    run = run_between(tmp_path / "root", old, {"f": (FILE, b"2\n"), "g": (FILE, b"2\n")})
    make_into(run.root, {"f": (FILE, b"3\n")})
    with pytest.raises(
        SandboxApplyError, match=r"f: changed here .* g: not there any more.*Nothing was started.*stash"
    ):
        plan(run.root, result_of(run))


def test_what_is_applied_already_needs_no_seed_whatever_became_of_it(tmp_path: Path) -> None:
    old: Tree = {"f": (FILE, b"1\n"), "gone": (FILE, b"")}
    run = run_between(tmp_path / "root", old, {"f": (FILE, b"2\n")})
    result = result_of(run)
    apply_result(result, run.root, policy=ApplyPolicy())
    assert (plan(run.root, result).changes, plan(run.root, result).warnings) == ([], [])
    (run.root / "f").write_bytes(b"3\n")
    found = plan(run.root, result)
    assert found.changes == []
    assert "goes in as it is: f: changed here" in found.warnings[0]
    (run.root / "f").write_bytes(b"2\n")
    revert_result(result, run.root)
    assert [each.path for each in plan(run.root, result).changes] == ["gone", "f"]


def test_what_would_configure_opencode_is_left_out(tmp_path: Path) -> None:
    patch = add(".opencode/plugin/a.js") + add("a.txt") + add("sub/opencode.json")
    patch = patch.replace("1" * 40, "587be6b4c3f93f93c489c0111bba5596147a26cb")
    found = plan(tmp_path, forge(tmp_path, patch))
    assert [each.path for each in found.changes] == ["a.txt"]
    assert [warning.partition(": ")[2] for warning in found.warnings] == [
        ".opencode/plugin/a.js: would configure OpenCode itself",
        "sub/opencode.json: would configure OpenCode itself",
    ]


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (add("../out"), "not a plain relative path"),
        (add("/etc/passwd"), "not a plain relative path"),
        (add("a/.git/config"), "inside a .git"),
        (add(".GIT/hooks/post-checkout"), "inside a .git"),
        (add("link/x"), "below a path that is a file or a link"),
        (add("in", mode="120000", content="..") + add("in/x"), "below a path|cannot be laid over the workspace"),
        (add(".gitmodules", mode="120000"), "invalid path '.gitmodules'"),
        (add("m", mode="160000"), "cannot be laid over the workspace"),
        (add("b/HEAD") + add("b/objects/x") + add("b/refs/x"), "git would take its folder for a repository"),
        ("not a patch at all\n", "cannot be laid over the workspace: Not a patch"),
    ],
)
def test_a_patch_that_no_run_has_made_is_refused(tmp_path: Path, patch: str, message: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to("/etc")
    patch = patch.replace("1" * 40, "587be6b4c3f93f93c489c0111bba5596147a26cb")
    with pytest.raises(SandboxApplyError, match=message):
        plan(root, forge(root, patch))


def test_a_patch_that_is_not_the_runs_own_is_refused(tmp_path: Path) -> None:
    result = result_of(run_between(tmp_path / "root", {}, {"a": (FILE, b"1\n")}), patch=add("a"))
    with pytest.raises(SandboxApplyError, match="SHA-256 differs"):
        plan(tmp_path / "root", result)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"workspace_file": 9}, "workspace_file"),
        ({"workspace": 8192}, "workspace"),
        ({"workspace_files": 2}, "workspace_files"),
        ({"changes": 15}, "changes"),
    ],
)
def test_it_is_within_the_limits_of_what_goes_in_and_comes_out(tmp_path: Path, limits: Any, name: str) -> None:
    run = run_between(tmp_path / "root", {"a": (FILE, b"1")}, {"b": (FILE, b"2" * 10), "c": (FILE, b"3" * 10)})
    assert len(plan(run.root, result_of(run), Limits(workspace_files=3)).changes) == 3
    with pytest.raises(SandboxConfigError, match=rf"more than Limits\.{name} allows"):
        plan(run.root, result_of(run), Limits(**limits))


def test_it_works_without_a_workspace(tmp_path: Path) -> None:
    empty = tmp_path / "root"
    run = run_between(empty, {}, {"a": (EXECUTABLE, b"1\n"), "l": (SYMLINK, b"a")})
    found = plan(None, result_of(run, workspace={"root": None}))
    assert [(each.path, each.mode) for each in found.changes] == [("a", EXECUTABLE), ("l", SYMLINK)]


def test_a_folder_that_is_mounted_has_to_have_the_changes(tmp_path: Path) -> None:
    run = run_between(tmp_path / "root", {}, {"a": (FILE, b"1\n")})
    result = result_of(run)
    with pytest.raises(SandboxConfigError, match="apply them first"):
        require_applied(result, run.root)
    require_applied(result_of(run, files=[]), run.root)
    require_applied(result_of(run, applied=True), run.root)
    with pytest.raises(SandboxConfigError, match="apply them first"):
        require_applied(result_of(run, applied=True), tmp_path)
    apply_result(result, run.root, policy=ApplyPolicy())
    require_applied(result, run.root)


# The other side.


@pytest.mark.parametrize("path", ["../out", "/out", "a/../../out", "a/.git/x", ".Git/x", "link/x", "", "a//b"])
def test_the_container_takes_no_path_on_trust(tmp_path: Path, path: str) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir(), outside.mkdir()
    (folder / "link").symlink_to(outside)
    body = {"path": path, "kind": "file", "executable": False}
    said: list[LinkEvent] = [Message(Channel.FILES, FileStream.SEED, body), End(Channel.FILES, FileStream.SEED)]
    with pytest.raises(ValueError, match="is no place for a change"):
        lay(folder, said)
    assert not any(outside.iterdir())
    assert [each.name for each in folder.iterdir()] == ["link"]


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("1")
    (tmp_path / "link").symlink_to("target")
    lay(tmp_path, tell(Seed([Change("link", EXECUTABLE, b"2")])))
    assert read(tmp_path) == {"target": (FILE, b"1"), "link": (EXECUTABLE, b"2")}


def test_a_seed_that_breaks_off_ends_the_arrival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, tmp_path / "inside")
    coming = arrival.Arrival(Collector(), folder=str(tmp_path / "inside/repo"))  # type: ignore[arg-type]
    coming.start({"git": None, "seed": True})
    coming.on_event(End(Channel.FILES, FileStream.TAR))
    coming.on_event(Data(Channel.FILES, FileStream.SEED, b"what is this"))
    with pytest.raises(arrival.ArrivalError):
        coming.wait()
