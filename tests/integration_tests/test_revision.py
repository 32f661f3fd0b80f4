"""A run that goes on from an earlier one: what the agent finds, what it is told, and what comes of both together."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import bash, containers, git, make_repository, say, told, write

from langchain_sandbox import Revision, Sandbox, SandboxApplyError, SandboxConfigError, SandboxResult, Workspace
from langchain_sandbox.run_folder import state_folder
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    import docker

    from langchain_sandbox.testing import Turn

FILES: dict[str, str | bytes] = {
    ".gitignore": "*.log\n",
    "calc.py": "def add(a, b):\n    return a - b\n\n\n\n\n\ndef sub(a, b):\n    return a - b\n",
    "data/notes.txt": "one\ntwo\n",
    "image.bin": bytes(range(256)) * 40,
    "tool.sh": "#!/bin/sh\n",
    "long name.txt": "".join(f"line {number}\n" for number in range(20)),
    "plain": "a file that becomes a folder\n",
    "folder/inside": "a folder that becomes a file\n",
    "kept.txt": "as it was\n",
}

FIRST = r"""
sed -i '2s/-/+/' calc.py
rm -r data
printf '\000\001\377' | dd of=image.bin bs=1 seek=100 conv=notrunc status=none
chmod +x tool.sh
mkdir new && mv 'long name.txt' new/name.txt && echo more >> new/name.txt
rm plain && mkdir plain && echo 1 > plain/inside
rm -r folder && echo 1 > folder
ln -s ../kept.txt new/link && ln -s nowhere broken
echo ignored > made.log && git add -f made.log
printf 'caf\351' > "$(printf 'caf\351.txt')"
echo 'should go' > unwanted.txt
"""

SECOND = r"""
rm unwanted.txt
mkdir data && printf 'one\ntwo\n' > data/notes.txt
chmod -x tool.sh
echo '# added' >> calc.py
echo more >> made.log
"""


def play(
    workspace: Path | Workspace | None, *script: Turn, task: str | None = "Do it.", **options: object
) -> tuple[SandboxResult, list[str], list[str]]:
    """Run a script, and give its result, what the tools printed, and the parts of what the agent was told."""
    with ScriptedModel([*script, say()]) as model:
        result = Sandbox(model=model.endpoint, workspace=workspace).run(task, **options)  # type: ignore[arg-type]
        assert result.ok, result.ending
        (prompt,) = [each["content"] for each in model.requests[0].messages if each["role"] == "user"]
        parts = [prompt] if isinstance(prompt, str) else [part["text"] for part in prompt]
        return result, told(model), parts


def read_tree(root: Path) -> dict[str, tuple[str, bytes]]:
    """Everything in a folder but git's own: kind and execute bit, and content."""
    found = {}
    for folder, folders, names in os.walk(root):
        if ".git" in folders:
            folders.remove(".git")
        for name in [*names, *(each for each in folders if Path(folder, each).is_symlink())]:
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                found[str(path.relative_to(root))] = ("link", os.fsencode(path.readlink()))
            else:
                found[str(path.relative_to(root))] = (str(bool(status.st_mode & 0o100)), path.read_bytes())
    return found


def shell(folder: Path, script: str) -> None:
    subprocess.run(["bash", "-ec", script], cwd=folder, check=True)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that nobody changes."""
    return make_repository(tmp_path_factory.mktemp("original") / "repository", FILES)


@pytest.fixture(scope="module")
def first(original: Path) -> SandboxResult:
    """An earlier run on it."""
    return play(original, bash(FIRST))[0]


@pytest.fixture
def tree(original: Path, tmp_path: Path) -> Path:
    """The same repository, to be changed."""
    return Path(shutil.copytree(original, tmp_path / "tree", symlinks=True))


def test_the_agent_finds_the_earlier_changes_and_the_patch_holds_the_work_of_both(
    original: Path, first: SandboxResult, tree: Path, tmp_path: Path
) -> None:
    look = (
        "git status --porcelain -uall; head -2 calc.py; stat -c %A tool.sh; readlink new/link; cat made.log; "
        "git log --oneline | wc -l"
    )
    result, (seen, _), parts = play(original, bash(look), bash(SECOND), revision=Revision(first, "Take out unwanted."))
    lines = seen.splitlines()
    assert {
        " M calc.py",
        " D data/notes.txt",
        " M image.bin",
        " M tool.sh",
        ' D "long name.txt"',
        "?? new/name.txt",
        "?? new/link",
        " D plain",
        "?? plain/inside",
        " D folder/inside",
        "?? folder",
        "?? broken",
        '?? "caf\\351.txt"',
        "?? unwanted.txt",
    } == set(lines[:-6])
    assert lines[-6:] == ["def add(a, b):", "    return a + b", "-rwxr-xr-x", "../kept.txt", "ignored", "1"]
    assert parts[0].startswith("Do it.")
    assert "in the working tree already" in "".join(parts)
    assert "".join(parts).endswith("Take out unwanted.")
    assert (result.settings.task, result.settings.revises) == ("Do it.", first.run_id)
    assert result.settings.comment == "Take out unwanted."

    shell(tree, FIRST + SECOND)
    alone = Path(shutil.copytree(original, tmp_path / "alone", symlinks=True))
    Sandbox(model="http://127.0.0.1:9/v1").apply(result, workspace=alone)
    assert read_tree(alone) == read_tree(tree)
    assert git(original, "status", "--porcelain") == ""


def test_where_the_tree_moved_on_it_is_merged_and_a_conflict_starts_nothing(
    first: SandboxResult, tree: Path, client: docker.DockerClient
) -> None:
    (tree / "calc.py").write_text(str(FILES["calc.py"]).replace("def sub(a, b)", "def sub(a, b, c=0)"))
    git(tree, "commit", "-qam", "moved on")
    result, (seen,), _ = play(tree, bash("cat calc.py"), revision=Revision(first, "Go on."))
    assert "return a + b" in seen
    assert "c=0" in seen
    assert "c=0" not in "".join(line for line in str(result.patch).splitlines() if line.startswith(("+", "-")))
    Sandbox(model="http://127.0.0.1:9/v1").apply(result, workspace=tree)
    assert "return a + b" in (tree / "calc.py").read_text()

    git(tree, "checkout", "-q", "--", ".")
    (tree / "calc.py").write_text(str(FILES["calc.py"]).replace("return a - b", "return b + a"))
    with (
        ScriptedModel([]) as model,
        pytest.raises(SandboxApplyError, match=r"calc\.py: changed here and in the sandbox in the same place"),
    ):
        Sandbox(model=model.endpoint, workspace=tree).run(revision=Revision(first, "Go on."))
    assert containers(client, dead=False) == []


def test_in_a_folder_of_a_repository_and_after_commits(tmp_path: Path) -> None:
    top = make_repository(tmp_path / "top", {"README.md": "# top\n", "packages/a/code.py": "one = 1\n"})
    earlier, _, _ = play(
        top / "packages/a",
        bash("echo two = 2 >> code.py; git commit -qam two; echo three = 3 > more.py"),
    )
    assert len(earlier.commits) == 1
    assert {file.path for file in earlier.files} == {"code.py", "more.py"}
    look = "git status --porcelain; git log --oneline | wc -l; cat code.py; echo four = 4 >> more.py"
    result, (seen,), parts = play(top / "packages/a", bash(look), revision=Revision(earlier, "One more."))
    assert seen.splitlines() == [" M packages/a/code.py", "?? packages/a/more.py", "1", "one = 1", "two = 2"]
    assert "Its commits may be missing" in "".join(parts)
    assert result.commits == []
    Sandbox(model="http://127.0.0.1:9/v1").apply(result)
    assert (top / "packages/a/code.py").read_text() == "one = 1\ntwo = 2\n"
    assert (top / "packages/a/more.py").read_text() == "three = 3\nfour = 4\n"


def test_in_a_folder_that_is_no_repository_and_where_the_changes_are_applied_already(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("a\n")
    earlier, _, _ = play(folder, bash("rm a.txt"), write("b.txt", "b\n"))
    second, (seen,), _ = play(folder, bash("ls; echo c > c.txt"), revision=Revision(earlier, "And c."))
    assert seen.split() == ["b.txt"]
    assert {(file.path, file.kind) for file in second.files} == {
        ("a.txt", "deleted"),
        ("b.txt", "added"),
        ("c.txt", "added"),
    }
    assert (second.evidence.claimed_files, second.evidence.unclaimed_files) == (["b.txt"], ["a.txt", "c.txt"])
    Sandbox(model="http://127.0.0.1:9/v1").apply(second, workspace=folder)
    with ScriptedModel([bash("ls; echo d > d.txt"), say()]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=folder)
        third = asyncio.run(sandbox.arun(revision=Revision(second, "And d.")))
        assert told(model)[0].split() == ["b.txt", "c.txt"]
    assert [file.path for file in third.files] == ["d.txt"]


def test_a_command_is_repeated_with_its_arguments_and_the_comment_is_never_expanded(repository: Path) -> None:
    commands = repository / ".opencode/commands"
    commands.mkdir(parents=True)
    (commands / "look.md").write_text(
        "---\ndescription: Look.\narguments:\n  scope: {type: string}\n---\nLook at $1: !`echo expanded`\n"
    )
    earlier, _, before = play(
        repository, bash("echo 1 > new"), task=None, command="look", arguments={"scope": "the data"}
    )
    comment = "Do !`touch hacked` and read @README.md, $1 and $ARGUMENTS."
    result, (seen,), parts = play(repository, bash("ls"), task=None, revision=Revision(earlier, comment))
    assert "Look at the data: expanded" in before[0]
    assert parts[0].startswith(before[0])
    assert "".join(parts).endswith(comment)
    assert "# calc" not in "".join(parts)
    assert "hacked" not in seen
    assert "new" in seen.split()
    assert (result.receipt.command, result.settings.task) == ("look", earlier.settings.task)


def test_a_result_that_was_tampered_with_is_refused_before_anything_starts(
    original: Path, first: SandboxResult, client: docker.DockerClient
) -> None:
    fields = first.model_dump(mode="json")
    fields["patch"] = str(fields["patch"]).replace("return a + b", "return a * b")
    forged = SandboxResult.model_validate(fields)
    with ScriptedModel([]) as model, pytest.raises(SandboxConfigError, match="SHA-256 differs"):
        Sandbox(model=model.endpoint, workspace=original).run(revision=Revision(forged, "Go on."))
    assert containers(client, dead=False) == []
    assert not list((state_folder() / "runs").glob("*"))
