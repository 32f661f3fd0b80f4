"""The commits behind HEAD, as one pack, so that log, blame, diff and commit work inside.

Only commits, trees and files travel: no configuration, no hook, no remote, no credential.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from langchain_sandbox.workspace.git import GitError, environment, git

if TYPE_CHECKING:
    from pathlib import Path

DEPTH = 200


@dataclass(slots=True)
class History:
    """What `take_history` packed.

    Args:
        pack: The pack, in an anonymous temporary file.
        head: The commit.
        branch: Name of the branch; `None` when no branch is checked out.
        shallow: Commits whose parents stayed behind.
        identity: The user's `user.name` and `user.email`, for commits made inside.
    """

    pack: IO[bytes]
    head: str
    branch: str | None
    shallow: list[str]
    identity: dict[str, str]

    def describe(self) -> dict[str, Any]:
        """What the agent needs to know to put it down."""
        return {"head": self.head, "branch": self.branch, "shallow": self.shallow, **self.identity}

    def close(self) -> None:
        """Let the pack go."""
        self.pack.close()


def take_history(root: Path, *, depth: int = DEPTH) -> History:
    """Pack the last commits of HEAD.

    Args:
        root: The repository's root; HEAD must be a commit.
        depth: How many commits to take.

    Raises:
        GitError: If git cannot read them.
    """
    head = git(root, "rev-parse", "--verify", "HEAD").decode("ascii").strip()
    # Not its short form: that is longer where a tag has the same name.
    ref = os.fsdecode(git(root, "symbolic-ref", "--quiet", "HEAD", check=False)).strip()
    branch = ref.removeprefix("refs/heads/")
    listed = git(root, "rev-list", "--parents", f"--max-count={depth}", "HEAD", "--").decode("ascii")
    commits = {words[0]: words[1:] for words in map(str.split, listed.splitlines())}
    shallow = [commit for commit, its_parents in commits.items() if any(p not in commits for p in its_parents)]
    # A repository that is itself shallow shows its oldest commits without parents; they have to be named as well.
    own = root / os.fsdecode(git(root, "rev-parse", "--git-path", "shallow")).strip()
    if own.exists():
        shallow += [line for line in own.read_text(encoding="ascii").split() if line in commits]
    identity = {}
    for key in ("user.name", "user.email"):
        value = git(root, "config", "--get", key, check=False).decode("utf-8", "replace").strip()
        if value:
            identity[key] = value
    return History(_pack(root, head, shallow), head, branch or None, shallow, identity)


def _pack(root: Path, head: str, shallow: list[str]) -> IO[bytes]:
    """Pack everything reachable from `head`, as far back as the shallow commits."""
    wanted = "".join(f"--shallow {commit}\n" for commit in shallow) + f"{head}\n"
    pack = tempfile.TemporaryFile(prefix="langchain-sandbox-")  # noqa: SIM115 - the history owns it
    command = ["git", "pack-objects", "--revs", "--stdout", "--quiet", "--delta-base-offset"]
    done = subprocess.run(  # noqa: S603 - a fixed program with separate arguments
        command,
        cwd=root,
        env=environment(),
        input=wanted.encode("ascii"),
        stdout=pack,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        pack.close()
        msg = f"git pack-objects failed: {done.stderr[-500:].decode('utf-8', 'replace').strip()}"
        raise GitError(msg)
    return pack
