"""Puts what came out of a container into the run's folder, where `apply` finds it later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_sandbox.workspace.content import save

if TYPE_CHECKING:
    from langchain_sandbox.run_folder import RunFolder
    from langchain_sandbox.workspace.content import Content
    from langchain_sandbox.workspace.inbound.snapshot import Snapshot
    from langchain_sandbox.workspace.outbound.changes import Change
    from langchain_sandbox.workspace.outbound.patch import Patch


def keep_changes(
    folder: RunFolder, *, patch: Patch, changes: list[Change], snapshot: Snapshot, bundle: Content | None
) -> None:
    """Write the patch, the former contents of what it changes, and the commits.

    Args:
        folder: The run's.
        patch: The patch.
        changes: What it was made of.
        snapshot: What it was made against.
        bundle: The commits; `None` if there are none.

    Raises:
        OSError: If something cannot be written.
    """
    if patch.size:
        save(patch.content, folder.patch)
    if bundle is not None:
        save(bundle, folder.bundle)
    for change in changes:
        entry = snapshot.entries.get(change.path)
        if entry is not None:
            base = folder.base(entry.blob)
            base.parent.mkdir(exist_ok=True, mode=0o700)
            save(snapshot.read(entry), base)
