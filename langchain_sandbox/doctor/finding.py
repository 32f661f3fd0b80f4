"""What a check says, and what checks know from those before them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from langchain_sandbox.config import Limits

if TYPE_CHECKING:
    from pathlib import Path

    import docker

    from langchain_sandbox.config import ModelEndpoint, TraceLevel
    from langchain_sandbox.engine.address import EngineAddress
    from langchain_sandbox.gateway.upstream import Upstream
    from langchain_sandbox.workspace_config import Workspace

FindingStatus = Literal["ok", "warning", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    Args:
        check: The check's name, such as `engine`.
        status: An `error` keeps runs from working, a `warning` may; `skipped` is what could not be looked at.
        message: What is so, in one sentence or two.
        remedy: What to do about it; empty where nothing has to be done.
    """

    check: str
    status: FindingStatus
    message: str
    remedy: str = ""


@dataclass(slots=True, kw_only=True)
class Known:
    """What is asked for, and what the checks until now have learnt; each check adds its part.

    Args:
        model: Address of the model server, in place of `SANDBOX_MODEL_BASE_URL`.
        folder: The folder to look at, as it was asked for.
        workspace: The same, with all options.
        image: Name of a derived image.
        limits: What runs may use.
        runtime: The OCI runtime that runs ask for; `None` for the engine's default.
        allow_remote_model: Whether the model server may be outside the user's network.
        trace: What tracers are told of runs.
        endpoint: The model server as configured; `None` if it is not, or cannot be.
        upstream: The model server as it answered, with the model that was chosen.
        served: The models between which no choice was made.
        reached: Whether something answers at the model server's address, whatever it says.
        stack: Closes what was opened on the way.
        address: Where the engine is, for us: one behind ssh is a socket of this machine.
        client: A client of the engine that has answered.
        version: The engine's own words on its version.
        info: The engine's own words on itself.
        image_id: The image that runs would start from.
        canary: What a container had to say of its walls.
    """

    model: str | None = None
    folder: Path | None = None
    workspace: Workspace | None = None
    image: str | None = None
    limits: Limits = field(default_factory=Limits)
    runtime: str | None = None
    allow_remote_model: bool = False
    trace: TraceLevel = "metadata"
    endpoint: ModelEndpoint | None = None
    upstream: Upstream | None = None
    served: list[str] = field(default_factory=list)
    reached: bool = False
    stack: ExitStack = field(default_factory=ExitStack)
    address: EngineAddress | None = None
    client: docker.DockerClient | None = None
    version: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    image_id: str | None = None
    canary: dict[str, Any] | None = None
