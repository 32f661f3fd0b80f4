"""How the agent's commits get into the user's repository: the branch goes forward, or a branch is made of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.applying.transaction import GitMove
from langchain_sandbox.workspace.git import GitError, git
from langchain_sandbox.workspace.inbound.repository import Repository, find_repository
from langchain_sandbox.workspace.outbound.commits import Commits, CommitsError, fetch_commits, read_commits
from langchain_sandbox.workspace.outbound.risks import MEANINGS, REFUSED
from langchain_sandbox.workspace.paths import parents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_sandbox.workspace_config import ApplyPolicy

_BRANCHES = "refs/heads/"
_UNFINISHED = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")
_NOTHING = "0" * 40


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledCommits:
    """Commits that wait for their delivery.

    Args:
        bundle: The file that holds them.
        run_id: The run that they are of.
        head: The commit that the run began with; `None` before the first one.
        branch: The branch that was checked out then; `None` for none.
    """

    bundle: Path
    run_id: str
    head: str | None
    branch: str | None


@dataclass(slots=True)
class Delivery:
    """What is to be done with the commits.

    Args:
        move: The branch that moves forward.
        branch: Full name of the branch to be made.
        head: The last of the commits.
    """

    move: GitMove | None = None
    branch: str | None = None
    head: str = ""
    _bundle: Path | None = None
    _repository: Repository | None = None
    _commits: Commits | None = None

    @property
    def needed(self) -> bool:
        """Whether anything is to be done."""
        return self.move is not None or self.branch is not None

    def fetch(self) -> None:
        """Let the commits into the repository, and make the branch.

        Raises:
            GitError: If git cannot.
        """
        if self.needed and self._bundle and self._repository and self._commits:
            fetch_commits(self._bundle, self._repository, self._commits, branch=self.branch)

    def drop(self) -> None:
        """Take the branch away again."""
        if self.branch is not None and self._repository is not None:
            git(self._repository.top, "update-ref", "-d", self.branch, self.head, check=False)


def plan_delivery(root: Path, waiting: BundledCommits, policy: ApplyPolicy) -> Delivery:
    """Decide what becomes of the commits.

    Args:
        root: The workspace's folder.
        waiting: The commits.
        policy: What the user wants.

    Raises:
        SandboxApplyError: If they are risky, or must not get into the repository, or their branch is there already.
        GitError: If git cannot read them.
    """
    repository = find_repository(root)
    if policy.commits == "files" or repository is None:
        return Delivery()
    began = Repository(repository.top, repository.prefix, waiting.head)
    try:
        commits = read_commits(waiting.bundle, began)
    except CommitsError as error:
        msg = f"The commits cannot be taken over: {error}; nothing was changed. For the files alone: {_ALONE}."
        raise SandboxApplyError(msg) from error
    if not commits.commits or _has(repository, commits.head):
        return Delivery()
    if policy.risky == "refuse":
        _refuse_risks(commits)
    delivery = Delivery(head=commits.head, _bundle=waiting.bundle, _repository=repository, _commits=commits)
    if policy.commits == "auto" and (ref := _find_ref(root, repository, waiting, commits)) is not None:
        staged = _read_staged(root, str(waiting.head), commits)
        # What is staged otherwise would be lost or mixed: nothing tells it from what the commits bring.
        if all(commits.index.get(path) == entry for path, entry in staged.items()):
            delivery.move = GitMove(
                ref=ref,
                old=str(waiting.head),
                new=commits.head,
                index=_build_lines(commits.index),
                former_index=_build_lines({**commits.former, **staged}),
            )
            return delivery
    delivery.branch = f"{_BRANCHES}sandbox/{waiting.run_id}"
    if git(root, "rev-parse", "--verify", "--quiet", delivery.branch, check=False).strip():
        msg = f"There is a branch sandbox/{waiting.run_id} already, with other commits; nothing was changed."
        raise SandboxApplyError(msg)
    return delivery


_ALONE = 'apply(result, policy=ApplyPolicy(commits="files"))'


def _has(repository: Repository, commit: str) -> bool:
    """Whether a branch of the repository has the commit already."""
    try:
        return bool(git(repository.top, "for-each-ref", "--count=1", f"--contains={commit}", "refs/heads").strip())
    except GitError:
        return False  # it does not know the commit


def _find_ref(root: Path, repository: Repository, waiting: BundledCommits, commits: Commits) -> str | None:
    """The branch that can simply move forward; `None` if there is none."""
    ref = os.fsdecode(git(root, "symbolic-ref", "--quiet", "HEAD", check=False)).strip()
    if (
        waiting.head is None
        or not commits.forward
        or repository.head != waiting.head
        or ref != f"{_BRANCHES}{waiting.branch}"
    ):
        return None
    folder = Path(os.fsdecode(git(root, "rev-parse", "--absolute-git-dir").removesuffix(b"\n")))
    return None if any((folder / name).exists() for name in _UNFINISHED) else ref


def _read_staged(root: Path, head: str, commits: Commits) -> dict[str, tuple[int, str] | None]:
    """What is staged of the paths that the commits change, and where one of them is another's folder.

    `None` stands for a deletion. What is half merged has a mode and a blob that nothing has.
    """
    raw = git(root, "diff-index", "--cached", "-z", "--no-renames", "--abbrev=40", head, "--")
    folders = {folder for path in commits.index for folder in parents(path)}
    fields = iter(os.fsdecode(raw).split("\0"))
    staged: dict[str, tuple[int, str] | None] = {}
    for item in fields:
        if not item:
            break
        _, mode, _, blob, status = item.split(" ")
        path = next(fields)
        if path in folders or not commits.index.keys().isdisjoint([path, *parents(path)]):
            staged[path] = None if status == "D" else (int(mode, 8), blob)
    return staged


def _build_lines(entries: Mapping[str, tuple[int, str] | None]) -> list[bytes]:
    return [
        b"%o %b 0\t%b" % (entry[0] if entry else 0, (entry[1] if entry else _NOTHING).encode(), os.fsencode(path))
        for path, entry in entries.items()
    ]


def _refuse_risks(commits: Commits) -> None:
    for commit in commits.commits:
        refused = [MEANINGS[risk] for risk in commit.risks if risk in REFUSED]
        if refused:
            msg = (
                f"Not applied, since commit {commit.id[:12]} would reach further than the project: it changes what "
                f"{'; '.join(refused)}. Look at it, and then allow it with "
                'apply(result, policy=ApplyPolicy(risky="allow")).'
            )
            raise SandboxApplyError(msg)
