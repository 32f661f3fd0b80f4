"""Puts results into workspaces, and takes them out again: what whoever runs tasks or commands can do with what came."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.workspace.applying.apply_result import apply_result, revert_result
from langchain_sandbox.workspace_config import ApplyPolicy

if TYPE_CHECKING:
    import os

    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.workspace.applying.told import ApplyReport


class Applier:
    """Applies and reverts results, whoever made them. It needs no engine, no model and no configuration."""

    def apply(
        self,
        result: SandboxResult,
        *,
        workspace: str | os.PathLike[str] | None = None,
        policy: ApplyPolicy | None = None,
    ) -> ApplyReport:
        """Put a result's changes into the workspace that they were made for: all of them, or none.

        It works in another process and days later. Where the tree has moved on, changes are merged three ways. To apply
        a second time changes nothing.

        Args:
            result: What a run returned, in this process or read back from JSON.
            workspace: Where to apply; the result's own workspace by default.
            policy: What to do where the tree moved on, with commits, and with risky changes.

        Returns:
            What was changed.

        Raises:
            SandboxApplyError: If there is a conflict, a risk that is not allowed, or something cannot be written;
                nothing was touched.

        Example:
            ```python
            result = SandboxResult.model_validate_json(Path("result.json").read_text())
            sandbox.apply(result, policy=ApplyPolicy(risky="allow"))
            ```
        """
        return apply_result(result, _find_root(result, workspace), policy=policy or ApplyPolicy())

    async def aapply(
        self,
        result: SandboxResult,
        *,
        workspace: str | os.PathLike[str] | None = None,
        policy: ApplyPolicy | None = None,
    ) -> ApplyReport:
        """As `apply`, without blocking the event loop."""
        return await asyncio.to_thread(self.apply, result, workspace=workspace, policy=policy)

    def revert(self, result: SandboxResult, *, workspace: str | os.PathLike[str] | None = None) -> ApplyReport:
        """Put the workspace back as it was before the result was applied: contents, modes, branch and index.

        Args:
            result: What was applied, by this user on this machine.
            workspace: As for `apply`.

        Returns:
            What was changed; nothing if it is as it was already.

        Raises:
            SandboxApplyError: If nothing is known of what it was, or something has changed since; nothing was touched.
        """
        return revert_result(result, _find_root(result, workspace))

    async def arevert(self, result: SandboxResult, *, workspace: str | os.PathLike[str] | None = None) -> ApplyReport:
        """As `revert`, without blocking the event loop."""
        return await asyncio.to_thread(self.revert, result, workspace=workspace)


def _find_root(result: SandboxResult, workspace: str | os.PathLike[str] | None) -> Path:
    root = workspace or result.workspace.root
    if root is None:
        msg = "The run had no workspace; say which folder is meant: workspace=..."
        raise SandboxApplyError(msg)
    return Path(root).expanduser().absolute()
