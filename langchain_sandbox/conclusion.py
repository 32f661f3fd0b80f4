"""What a run comes to: its result is made, its changes are applied where that is wanted, and all of it is kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.report import build_fields
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.workspace.applying.apply_result import apply_result
from langchain_sandbox.workspace_config import ApplyPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_sandbox.keeper import Keeper
    from langchain_sandbox.preparation import Means
    from langchain_sandbox.report import Report
    from langchain_sandbox.request import RunRequest
    from langchain_sandbox.workspace.inbound.intake import Intake
    from langchain_sandbox.workspace.outbound.patch import Patch
    from langchain_sandbox.workspace_config import Workspace


class Conclusion:
    """Drawn once, when the container is gone, or was never there.

    Args:
        request: What was asked for.
        report: What was seen of it.
        keeper: Keeps it.
        emit: Called with an event's type and its fields.
        warn: Called with what the caller should know.
    """

    def __init__(
        self,
        request: RunRequest,
        report: Report,
        keeper: Keeper,
        *,
        emit: Callable[..., None],
        warn: Callable[[str], None],
    ) -> None:
        self._request = request
        self._report = report
        self._keeper = keeper
        self._emit = emit
        self._warn = warn

    async def draw(self, intake: Intake, patch: Patch, *, means: Means) -> SandboxResult:
        """Say what came of the run.

        Args:
            intake: What went in.
            patch: What was changed.
            means: The image and the model that it had.
        """
        for warning in self._report.last_warnings():
            self._warn(warning)
        result = await anyio.to_thread.run_sync(self._build_result, intake, patch, means)
        workspace = self._request.workspace
        if intake.mounted:
            result = result.model_copy(update={"applied": True})
        elif result.ok and self._request.changes == "apply" and workspace is not None:
            result = await self._apply(result, workspace)
        self._emit("finished", status=result.status, ok=result.ok)
        await anyio.to_thread.run_sync(self._keeper.close, result.model_dump(mode="json"))
        return result

    def _build_result(self, intake: Intake, patch: Patch, means: Means) -> SandboxResult:
        fields = build_fields(
            self._report,
            run_id=self._request.run_id,
            patch=patch,
            intake=intake,
            image=means.image,
            model=means.source.model if means.source else "",
            patch_file=str(self._keeper.patch) if self._keeper.patch else None,
        )
        return SandboxResult.model_validate(fields)

    async def _apply(self, result: SandboxResult, workspace: Workspace) -> SandboxResult:
        apply = partial(apply_result, result, workspace.path, policy=ApplyPolicy())
        try:
            report = await anyio.to_thread.run_sync(apply)
        except SandboxConfigError as error:
            self._warn(f"The changes were not applied: {error}")
            return result.model_copy(update={"warnings": list(self._report.warnings)})
        if report.branch is not None:
            self._warn(f"The branch could not simply move forward: the commits are on {report.branch}.")
        return result.model_copy(update={"applied": True, "warnings": list(self._report.warnings)})
