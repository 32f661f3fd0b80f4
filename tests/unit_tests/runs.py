"""What a run leaves behind, without a run: a patch for a folder, and the former contents of what it changes."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trees import Tree, put_down, read, tell_changes

from langchain_sandbox.config import Limits
from langchain_sandbox.result import Ending, Receipt, SandboxResult
from langchain_sandbox.workspace.applying.apply import apply_changes
from langchain_sandbox.workspace.applying.delivery import BundledCommits
from langchain_sandbox.workspace.applying.revert import revert_changes
from langchain_sandbox.workspace.applying.told import ApplyReport
from langchain_sandbox.workspace.content import pieces
from langchain_sandbox.workspace.inbound.snapshot import take_snapshot
from langchain_sandbox.workspace.outbound.changes import Change
from langchain_sandbox.workspace.outbound.patch import build_patch
from langchain_sandbox.workspace_config import ApplyPolicy

Frozen = dict[str, tuple[object, ...]]


@dataclass
class Run:
    """Changes on their way back.

    Args:
        root: The folder that they are for.
        patch: The patch.
        bases: Former contents by git's names for them.
        record: Where applying keeps what was there.
        commits: The commits that belong to them.
    """

    root: Path
    patch: bytes
    bases: Mapping[str, bytes] = field(default_factory=dict)
    record: Path | None = None
    commits: BundledCommits | None = None

    def apply(self, **policy: str) -> ApplyReport:
        return apply_changes(
            self.root,
            self.patch,
            find_base=self.bases.get,
            policy=ApplyPolicy(**policy),  # type: ignore[arg-type]
            commits=self.commits,
            record_in=self.record,
        )

    def revert(self) -> ApplyReport:
        assert self.record is not None
        return revert_changes(self.root, self.record)


def run_on(root: Path, *changes: Change) -> Run:
    """A run that found a folder as it is, and changed something."""
    snapshot = take_snapshot(root, Limits())
    try:
        patch = build_patch(snapshot, list(changes))
        found = [snapshot.entries[change.path] for change in changes if change.path in snapshot.entries]
        bases = {entry.blob: b"".join(pieces(snapshot.read(entry))) for entry in found}
        text = b"".join(pieces(patch.content))
        patch.close()
    finally:
        snapshot.close()
    return Run(root, text, bases, root.parent / f"{root.name}.applied")


def run_between(root: Path, old: Tree, new: Tree) -> Run:
    """The same with a folder that is made for it."""
    root.mkdir(exist_ok=True)
    put_down(root, old)
    return run_on(root, *tell_changes(old, new))


def make_into(root: Path, new: Tree) -> None:
    """Make a folder into another tree, as a user would who knows nothing of git."""
    for path, side in read(root).items():
        if new.get(path) != side:
            (root / path).unlink()
            for folder in (root / path).relative_to(root).parents[:-1]:
                if not any((root / folder).iterdir()):
                    (root / folder).rmdir()
    here = read(root)
    put_down(root, {path: side for path, side in new.items() if here.get(path) != side})


def freeze(root: Path) -> Frozen:
    """Everything in a folder, what git keeps there included, so exactly that nobody can have touched it since."""
    found: Frozen = {}
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = Path(folder) / name
            status = path.lstat()
            told = (stat.filemode(status.st_mode), status.st_ino)
            if stat.S_ISREG(status.st_mode):
                found[str(path.relative_to(root))] = (*told, status.st_mtime_ns, path.read_bytes())
            else:
                found[str(path.relative_to(root))] = (*told, path.readlink() if path.is_symlink() else None)
    return found


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Git, as a user with a name has it."""
    names = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "core.fsync=none", "-c", "gc.auto=0")
    done = subprocess.run(["git", *names, *arguments], cwd=folder, input=stdin, check=True, capture_output=True)
    return os.fsdecode(done.stdout)


def init(root: Path) -> Path:
    """Make a folder a repository, its files committed."""
    git(root, "init", "--quiet", "--initial-branch=main", "--template=")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message=first")
    return root


def merge_lines(here: bytes, base: bytes, new: bytes) -> bytes | None:
    """What `git merge-file` makes of three contents; `None` for a conflict."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("here", here), ("base", base), ("new", new)):
            (Path(folder) / name).write_bytes(content)
        command = ["git", "merge-file", "-p", "--quiet", "here", "base", "new"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def make_result(**fields: object) -> SandboxResult:
    """The result of a run that completed, with some fields of its own."""
    usual = {
        "run_id": "0123456789ab",
        "status": "completed",
        "ok": True,
        "ending": Ending(code="completed", message="The agent says that it has done the task."),
        "receipt": Receipt(package="0"),
    }
    return SandboxResult.model_validate({**usual, **fields})
