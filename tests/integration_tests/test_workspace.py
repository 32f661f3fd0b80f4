"""The user's repository: what it looks like inside, what comes out, and how that gets into the tree and out again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import bash, git, make_repository, say, told, write

from langchain_sandbox import ApplyPolicy, Limits, Retention, Sandbox, SandboxApplyError, SandboxConfigError, Workspace
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langchain_sandbox import SandboxResult
    from langchain_sandbox.testing import Turn

LOOK = (
    "git status --porcelain=v2 --branch; git diff; git diff --cached; git log --format='%H %an %s'; git blame README.md"
)


def run(workspace: Path | Workspace, *script: Turn, **options: object) -> tuple[SandboxResult, list[str]]:
    """Run a script, and give its result and what the tools printed."""
    with ScriptedModel([*script, say()]) as model:
        result = Sandbox(model=model.endpoint, workspace=workspace, **options).run("Do it.")  # type: ignore[arg-type]
        return result, told(model)


def test_git_looks_inside_as_it_does_outside(repository: Path) -> None:
    (repository / "data/gone.txt").write_text("gone\n")
    (repository / "data/moved.txt").write_text("one\ntwo\nthree\nfour\n")
    git(repository, "add", "-A"), git(repository, "commit", "-qm", "second")
    git(repository, "checkout", "-qb", "work")
    (repository / "calc.py").write_text("staged\n")
    git(repository, "add", "calc.py")
    (repository / "calc.py").write_text("staged, and changed since\n")
    git(repository, "mv", "data/moved.txt", "data/there.txt")
    (repository / "data/gone.txt").unlink()
    (repository / "new staged.txt").write_text("new\n")
    git(repository, "add", "new staged.txt")
    (repository / "meant.txt").write_text("meant\n")
    git(repository, "add", "--intent-to-add", "meant.txt")
    (repository / "README.md").chmod(0o755)
    (repository / "opencode.json").write_text("{}")
    git(repository, "add", "opencode.json"), git(repository, "commit", "-qm", "settings", "--", "opencode.json")
    (repository / ".git/info/exclude").write_text("*.private\n")
    (repository / "secret.private").write_text("ignored\n")
    outside = subprocess.run(LOOK, shell=True, cwd=repository, capture_output=True, text=True, check=True).stdout

    result, (inside, ignored) = run(repository, bash(LOOK), bash("touch x.private; git status --short x.private"))
    assert result.ok, result.ending
    assert inside.strip() == outside.strip()
    assert ignored.strip() in {"", "(no output)"}
    assert result.files == []


def test_more_goes_in_and_less_as_the_user_says(repository: Path) -> None:
    (repository / ".gitignore").write_text(".env*\nnode_modules/\n")
    (repository / ".env.test").write_text("A=1\n")
    (repository / ".env").write_text("SECRET=1\n")
    (repository / "web/node_modules/pkg").mkdir(parents=True)
    (repository / "web/node_modules/pkg/index.js").write_text("1\n")
    git(repository, "add", "-A"), git(repository, "commit", "-qm", "ignore")
    workspace = Workspace(repository, include=[".env.test", "node_modules", "typo.txt"], exclude=["data"])
    command = (
        "find . -path ./.git -prune -o -type f -print | sort; git status --short; "
        "echo 2 > web/node_modules/pkg/index.js"
    )
    result, (seen,) = run(workspace, bash(command))
    assert seen.split() == [
        "./.env.test",
        "./.gitignore",
        "./README.md",
        "./calc.py",
        "./web/node_modules/pkg/index.js",
    ]
    assert [file.path for file in result.files] == ["web/node_modules/pkg/index.js"]
    assert [warning for warning in result.warnings if "typo.txt" in warning]


def test_a_folder_of_a_repository_has_the_repositorys_git(repository: Path) -> None:
    (repository / "packages/a").mkdir(parents=True)
    (repository / "packages/a/AGENTS.md").write_text("Always answer in verse.\n")
    (repository / "packages/a/mod.py").write_text("x = 1\n")
    git(repository, "add", "-A"), git(repository, "commit", "-qm", "package a")
    script = [
        bash("pwd; ls; git log --oneline -- . | cat; git status --short"),
        write("packages/a/mod.py", "x = 2\n"),
        say(),
    ]
    with ScriptedModel(script) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository / "packages/a")
        result = sandbox.run("Change it.")
        [seen, _] = told(model)
        assert "Always answer in verse." in str(model.requests[0].messages)
    assert result.ok, result.ending
    where, *rest = seen.splitlines()
    assert where == "/run/ws/repo/packages/a"
    assert rest[:2] == ["AGENTS.md", "mod.py"]
    assert len(rest) == 3
    assert rest[2].endswith("package a")
    assert [file.path for file in result.files] == ["mod.py"]
    assert result.evidence.claimed_files == ["mod.py"]
    sandbox.apply(result)
    assert (repository / "packages/a/mod.py").read_text() == "x = 2\n"


def test_a_submodules_files_go_in_and_their_changes_come_out(repository: Path, tmp_path: Path) -> None:
    library = make_repository(tmp_path / "library", {"lib.py": "one\n", ".gitignore": "*.o\n"})
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "libs/lib")
    git(repository, "commit", "-qm", "a submodule")
    work = "echo two > libs/lib/lib.py; echo new > libs/lib/new.py; touch libs/lib/x.o; git status --short"
    result, (seen,) = run(repository, bash(work))
    assert result.ok, result.ending
    assert seen.strip() in {"", "(no output)"}
    assert {file.path: file.kind for file in result.files} == {
        "libs/lib/lib.py": "modified",
        "libs/lib/new.py": "added",
    }


def apply_elsewhere(result: SandboxResult, call: str) -> str:
    """Apply or revert in another process, from the result's JSON alone."""
    code = (
        "import sys; from langchain_sandbox import *\n"
        "result = SandboxResult.model_validate_json(sys.stdin.read())\n"
        f"print(Sandbox(model='http://127.0.0.1:9').{call})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=result.model_dump_json(), capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_commits_come_out_and_the_branch_goes_forward_in_another_process(repository: Path) -> None:
    git(repository, "config", "user.name", "Grace"), git(repository, "config", "user.email", "grace@example.com")
    hook = repository / ".git/hooks/reference-transaction"
    hook.write_text("#!/bin/sh\ntouch hook-ran\n")
    hook.chmod(0o755)
    (repository / "untracked.txt").write_text("the user's own\n")
    work = (
        "echo 'def sub(a, b): return a - b' >> calc.py && git add calc.py && git commit -qm 'feat: sub' && "
        "git mv README.md README.txt && git commit -qm 'docs: rename' && echo rest > rest.txt && git log --format=%H -2"
    )
    result, (seen,) = run(repository, bash(work))
    assert result.ok, result.ending
    assert [commit.subject for commit in result.commits] == ["feat: sub", "docs: rename"]
    assert [commit.id for commit in result.commits] == seen.split()[::-1]
    assert {commit.author for commit in result.commits} == {"Grace"}
    before = (
        git(repository, "rev-parse", "HEAD"),
        git(repository, "status", "--porcelain"),
        (repository / ".git/index").read_bytes(),
    )

    assert "forwarded='main'" in apply_elsewhere(result, "apply(result)")
    assert git(repository, "rev-parse", "main") == result.commits[-1].id
    assert git(repository, "status", "--porcelain").splitlines() == ["?? rest.txt", "?? untracked.txt"]
    assert git(repository, "fsck") == ""
    assert not (repository / "hook-ran").exists()
    assert "paths=[]" in apply_elsewhere(result, "apply(result)")

    apply_elsewhere(result, "revert(result)")
    assert (git(repository, "rev-parse", "HEAD"), git(repository, "status", "--porcelain")) == before[:2]
    assert not (repository / "rest.txt").exists()


def test_commits_are_a_branch_where_the_user_went_on(repository: Path) -> None:
    result, _ = run(repository, bash("echo more >> data/notes.txt && git commit -qam 'docs: notes'"))
    (repository / "calc.py").write_text("the user's\n")
    git(repository, "commit", "-qam", "meanwhile")
    mine = git(repository, "rev-parse", "main")
    report = Sandbox(model="http://127.0.0.1:9").apply(result)
    assert (report.branch, report.forwarded, report.paths) == (f"sandbox/{result.run_id}", None, ["data/notes.txt"])
    assert git(repository, "rev-parse", "main") == mine
    assert git(repository, "rev-parse", report.branch) == result.commits[-1].id
    assert git(repository, "status", "--porcelain") == "M data/notes.txt"
    Sandbox(model="http://127.0.0.1:9").revert(result)
    assert git(repository, "branch", "--format=%(refname:short)") == "main"
    assert git(repository, "status", "--porcelain") == ""


def test_what_the_user_did_meanwhile_is_merged_or_nothing_happens(repository: Path) -> None:
    lines = [f"line {number}\n" for number in range(20)]
    (repository / "long.txt").write_text("".join(lines))
    git(repository, "add", "-A"), git(repository, "commit", "-qm", "long")
    result, _ = run(repository, bash("sed -i 's/line 3$/line three/' long.txt; echo new > new.txt"))
    sandbox = Sandbox(model="http://127.0.0.1:9")
    (repository / "long.txt").write_text("".join([*lines[:15], "line fifteen\n", *lines[16:]]))
    with pytest.raises(SandboxApplyError, match=r"long\.txt: not as when the run began"):
        sandbox.apply(result, policy=ApplyPolicy(moved="refuse"))
    assert sandbox.apply(result).merged == ["long.txt"]
    assert "line three\n" in (repository / "long.txt").read_text()
    assert "line fifteen\n" in (repository / "long.txt").read_text()
    sandbox.revert(result)
    (repository / "long.txt").write_text("".join([*lines[:3], "line 3, mine\n", *lines[4:]]))
    with pytest.raises(SandboxApplyError, match=r"long\.txt: changed here and in the sandbox in the same place"):
        sandbox.apply(result)
    assert not (repository / "new.txt").exists()


def test_what_reaches_further_than_the_project_is_flagged_and_has_to_be_allowed(
    repository: Path, record_property: Callable[[str, object], None]
) -> None:
    work = (
        "mkdir -p .github/workflows .vscode .husky && echo 'on: push' > .github/workflows/ci.yml"
        " && echo {} > .vscode/tasks.json && echo x > .husky/pre-commit && ln -s /etc/passwd link"
        " && echo AKIAQ7ZRV3M2XK5LWT6B > key.txt && echo {} > package.json"
    )
    result, _ = run(repository, bash(work), changes="apply")
    assert result.ok, result.ending
    assert not result.applied
    assert [warning for warning in result.warnings if "reach further than the project" in warning]
    assert {file.path: file.risks for file in result.files} == {
        ".github/workflows/ci.yml": ["ci"],
        ".husky/pre-commit": ["hook"],
        ".vscode/tasks.json": ["editor"],
        "key.txt": ["secret"],
        "link": ["link_out"],
        "package.json": ["build_hook"],
    }
    assert git(repository, "status", "--porcelain") == ""
    report = Sandbox(model="http://127.0.0.1:9").apply(result, policy=ApplyPolicy(risky="allow"))
    assert len(report.paths) == 6
    record_property("W4", f"{len(result.files)} files flagged, 0 applied until allowed")


def test_what_opencode_says_is_told_beside_what_changed(repository: Path) -> None:
    result, _ = run(
        repository,
        write("said.txt", "1\n"),
        bash("echo 2 > unsaid.txt"),
        write("undone.txt", "3\n"),
        bash("rm undone.txt"),
    )
    assert result.evidence.claimed_files == ["said.txt", "undone.txt"]
    assert result.evidence.unclaimed_files == ["unsaid.txt"]
    assert [file.path for file in result.files] == ["said.txt", "unsaid.txt"]


def test_a_run_is_kept_and_older_ones_go(repository: Path) -> None:
    runs = [run(repository, bash(f"echo {number} >> calc.py"), retention=Retention(runs=2))[0] for number in range(3)]
    kept = sorted(path.name for path in (repository.parent / "state/runs").iterdir())
    assert kept == sorted(result.run_id for result in runs[1:])
    folder = repository.parent / "state/runs" / runs[-1].run_id
    assert json.loads((folder / "result.json").read_text()) == runs[-1].model_dump(mode="json")
    events = [json.loads(line)["type"] for line in (folder / "events.jsonl").read_text().splitlines()]
    assert events[0] == "started"
    assert events[-1] == "finished"
    assert (folder / "changes.patch").read_text() == runs[-1].patch
    assert folder.stat().st_mode & 0o077 == 0
    result, _ = run(repository, bash("seq 1 60000 > long.txt"), retention=Retention(runs=0))
    assert result.patch_reference is None
    assert len(result.patch or "") > 300_000
    assert Sandbox(model="http://127.0.0.1:9").apply(result).paths == ["long.txt"]


@pytest.mark.parametrize("limits", [Limits(workspace="1m"), Limits(workspace_file="1m"), Limits(workspace_files=3)])
def test_what_is_too_much_is_refused_and_the_biggest_are_named(repository: Path, limits: Limits) -> None:
    (repository / "data/big.bin").write_bytes(os.urandom(2_000_000))
    with pytest.raises(SandboxConfigError, match=r"data(/big\.bin \(2000000 bytes\)| \(2 files\))"):
        run(repository, limits=limits)


KILLED = """
import os, signal, sys
from langchain_sandbox import Sandbox, SandboxResult
from langchain_sandbox.workspace.applying import tree
def step(name):
    if name.startswith("link") or name.startswith("place"):
        os.kill(os.getpid(), signal.SIGKILL)
tree._step = step
Sandbox(model="http://127.0.0.1:9").apply(SandboxResult.model_validate_json(sys.stdin.read()))
"""


def test_what_a_killed_apply_left_is_finished_by_the_next_run(repository: Path) -> None:
    result, _ = run(repository, bash("echo new > a.txt; echo new > calc.py; rm README.md"))
    done = subprocess.run(
        [sys.executable, "-c", KILLED], input=result.model_dump_json(), text=True, capture_output=True, check=False
    )
    assert done.returncode == -9, done.stderr
    assert (repository / ".langchain-sandbox.apply").exists()
    _, (seen,) = run(repository, bash("ls; cat a.txt calc.py"))
    assert seen.split() == ["a.txt", "calc.py", "data", "new", "new"]
    assert git(repository, "status", "--porcelain").split() == ["D", "README.md", "M", "calc.py", "??", "a.txt"]
