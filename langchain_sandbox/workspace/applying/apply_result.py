"""Applies and reverts a result: from the result alone where it has all, else with the help of its run's folder."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.workspace.applying.apply import apply_changes, find_in_repository
from langchain_sandbox.workspace.applying.delivery import BundledCommits
from langchain_sandbox.workspace.applying.revert import revert_changes
from langchain_sandbox.workspace.content import Content, Stored, append, blob_name, pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.workspace.applying.told import ApplyReport
    from langchain_sandbox.workspace_config import ApplyPolicy

logger = logging.getLogger(__name__)


def apply_result(result: SandboxResult, root: Path, *, policy: ApplyPolicy) -> ApplyReport:
    """Apply what a run changed.

    Args:
        result: What the run gave back.
        root: The folder to apply it to.
        policy: How.

    Raises:
        SandboxApplyError: If it does not fit, or cannot be written; then nothing was changed.
    """
    folder = RunFolder.of(result.run_id)
    with ExitStack() as opened:
        spool = opened.enter_context(tempfile.TemporaryFile(prefix="langchain-sandbox-"))
        patch = open_patch(result, folder, opened)
        return apply_changes(
            root,
            patch,
            find_base=find_former(root, folder, spool),
            policy=policy,
            commits=_find_commits(result, folder, policy),
            record_in=_open_record(folder),
        )


def revert_result(result: SandboxResult, root: Path) -> ApplyReport:
    """Put a tree back as it was before a result was applied to it.

    Args:
        result: What the run gave back.
        root: The folder.

    Raises:
        SandboxApplyError: If it was not applied here by this user, or something has changed since; nothing was changed
            then.
    """
    return revert_changes(root, RunFolder.of(result.run_id).applied)


def open_patch(result: SandboxResult, folder: RunFolder, opened: ExitStack) -> Content:
    """All of a result's patch, however long.

    Args:
        result: What the run gave back.
        folder: The run's.
        opened: Closes it.

    Raises:
        SandboxApplyError: If it cannot be read, or is not the one that the run gave back.
    """
    patch = _find_patch(result, folder, opened)
    digest = hashlib.sha256()
    for piece in pieces(patch):
        digest.update(piece)
    if result.receipt.patch_sha256 != (digest.hexdigest() if result.receipt.patch_sha256 else ""):
        msg = f"The patch of run {result.run_id} is not the one that the run gave back: its SHA-256 differs."
        raise SandboxApplyError(msg)
    return patch


def _find_patch(result: SandboxResult, folder: RunFolder, opened: ExitStack) -> Content:
    if result.patch is not None:
        return result.patch.encode()
    if result.patch_reference is None:
        return b""
    path = Path(result.patch_reference.path)
    if not path.is_file():
        path = folder.patch  # the state folder may be elsewhere by now; a pipe would never come to its end
    try:
        file = opened.enter_context(path.open("rb"))
    except OSError as error:
        msg = f"The patch {path} cannot be read: {error.strerror}."
        raise SandboxApplyError(msg) from error
    return Stored(file, 0, path.stat().st_size)


def find_former(root: Path | None, folder: RunFolder, spool: IO[bytes]) -> Callable[[str], Content | None]:
    """Finds former contents of what a run has changed, by git's names for them.

    Args:
        root: A folder in whose repository they may be; `None` for none.
        folder: The run's, where they are kept.
        spool: Gets the contents.
    """
    in_repository = find_in_repository(root) if root is not None else lambda _blob: None

    def find(blob: str) -> Content | None:
        try:
            with folder.base(blob).open("rb") as file:
                content = append(Stored(file, 0, file.seek(0, 2)), spool)
        except OSError:
            return in_repository(blob)
        return content if blob_name(content) == blob else in_repository(blob)

    return find


def _find_commits(result: SandboxResult, folder: RunFolder, policy: ApplyPolicy) -> BundledCommits | None:
    if not result.commits or policy.commits == "files":
        return None
    if not folder.bundle.exists():
        msg = (
            f"The commits of run {result.run_id} are not on this machine any more ({folder.bundle}); apply the files "
            'alone with apply(result, policy=ApplyPolicy(commits="files")).'
        )
        raise SandboxApplyError(msg)
    return BundledCommits(
        bundle=folder.bundle, run_id=result.run_id, head=result.workspace.head, branch=result.workspace.branch
    )


def _open_record(folder: RunFolder) -> Path | None:
    """Where to keep what the tree was; `None` where nothing can be kept."""
    try:
        folder.applied.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        logger.warning("what is applied now cannot be reverted: %s", error)
        return None
    return folder.applied
