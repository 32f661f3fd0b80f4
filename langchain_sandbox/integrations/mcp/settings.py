"""What an MCP server was started with. Plain data; the clients cannot change any of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_sandbox.config import ModelEndpoint
from langchain_sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_sandbox.config import ChangesPolicy
    from langchain_sandbox.workspace_config import Workspace

_NOWHERE = ModelEndpoint("http://127.0.0.1:9/v1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What the operator of a server decides.

    Args:
        workspace: The folder that all tasks work on; `None` where the client's roots decide.
        fallback: The folder where the server was started, for a client without roots.
        model: The model server; `None` if none is configured, which each call then says.
        image: As for `Sandbox`.
        runtime: As for `Sandbox`.
        timeout: As for `Sandbox`.
        changes: What becomes of the changes of each run, as for `Sandbox`.
        include: Which tools there are, as for `SandboxToolkit.from_repo`.
        exclude: Which of those to leave out.
    """

    workspace: Workspace | None
    fallback: Workspace
    model: ModelEndpoint | None = None
    image: str | None = None
    runtime: str | None = None
    timeout: float | str | None = None
    changes: ChangesPolicy | None = None
    include: Sequence[str] | None = field(default=None)
    exclude: Sequence[str] | None = field(default=None)

    def make_sandbox(self, workspace: Workspace, *, pool: Sandbox | None = None) -> Sandbox:
        """What runs the tasks on a folder. Without a model it can be asked what it would run, and run nothing.

        Args:
            workspace: The folder.
            pool: Whose pool it uses; its own by default, if the environment says that it has one.

        Raises:
            SandboxConfigError: If an option cannot work.
        """
        return Sandbox(
            model=self.model or _NOWHERE,
            workspace=workspace,
            image=self.image,
            runtime=self.runtime,
            timeout=self.timeout,  # type: ignore[arg-type]
            changes=self.changes,
            pool=pool,
        )
