"""What a run needs from a container engine, and nothing more.

Another engine (a remote host, Kubernetes, Ray) is a class beside `docker.py` that keeps these promises:

- A container is made from a `ContainerSpec` with every wall that `hardening` describes, or not at all.
- Its standard input and output are one byte stream, attached before the first instruction runs. When our side of
  the stream ends, for whatever reason, the program inside sees the end of its input.
- `kill` and `remove` may be called at any time, in any order and repeatedly; what is gone already is no error.
- Nothing is left when `remove` returned, nor when this process died without calling it and `collect_garbage`
  ran later.
- What cannot be done is raised as `SandboxUnavailableError`; the engine's own exceptions never escape.

All methods are coroutines of one event loop and may be cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from langchain_sandbox.config import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A place of the host's in a container.

    Args:
        source: The file or folder on the engine's machine; `None` for an empty folder that nobody can write to.
        target: Where it is in the container.
        access: What the container may do with it.
    """

    source: str | None
    target: str
    access: Literal["read-write", "read-only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container to be made; everything that is not here is fixed by `hardening`.

    Args:
        name: The container's name.
        image: The image's name or id.
        limits: What it may use.
        labels: Marks on it; one of them says whose it is.
        program: What runs instead of the image's own program, for a look at the walls from inside.
        mounts: Places of the host's; none but for a workspace that is mounted.
        user: Who its programs are, as `uid:gid`; never root.
        runtime: The OCI runtime that it runs under, by the engine's name for it; `None` for the engine's default.
    """

    name: str
    image: str
    limits: Limits
    labels: Mapping[str, str]
    program: tuple[str, ...] | None = None
    mounts: tuple[Mount, ...] = ()
    user: str | None = None
    runtime: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEnd:
    """How a container ended, as the engine saw it.

    Args:
        exit_code: Of its first process; `None` if the engine did not say.
        oom: Whether the kernel killed something in it for memory, be it only a child.
        lost: Whether the engine itself went away first.
    """

    exit_code: int | None = None
    oom: bool = False
    lost: bool = False


class ByteStream(Protocol):
    """Both directions of a container's standard streams."""

    async def receive(self) -> bytes:
        """The next bytes of standard output; empty at its end.

        Raises:
            LinkError: If the engine's own framing of them is damaged.
        """

    async def send(self, data: bytes) -> None:
        """Write all of `data` to standard input."""

    async def aclose(self) -> None:
        """End the stream; the container sees the end of its input."""

    @property
    def stderr_tail(self) -> str:
        """The last words on standard error."""


class Container(Protocol):
    """A container from its making to its removal."""

    id: str

    @property
    def oom(self) -> bool:
        """Whether the kernel has killed something in it for memory, as far as `wait` has heard."""

    async def attach(self) -> ByteStream:
        """Open the stream; call it before `start`."""

    async def start(self) -> None:
        """Let the program run."""

    async def wait(self) -> ContainerEnd:
        """Return when it has ended and is gone, or when the engine went away."""

    async def remove(self) -> None:
        """Kill it if it runs and take it away."""

    async def aclose(self) -> None:
        """Let go of the engine; the container itself is not touched."""


class Engine(Protocol):
    """Where containers are made."""

    @property
    def shares_files(self) -> bool:
        """Whether it can mount this machine's folders."""

    @property
    def private_places(self) -> list[Path]:
        """Files of this machine that no container may see, such as the engine's own socket."""

    async def identify(self) -> str:
        """A name for it that changes when it is another engine, another version, or was set up anew.

        Raises:
            SandboxUnavailableError: If it does not answer.
        """

    async def require_image(self, name: str | None, *, workspace: Path | None = None) -> str:
        """The id of the image with that name, else of the one that the workspace picks, else of the package's own.

        The workspace is a stranger's: it picks among sandbox images that are there, nothing is built or pulled.

        Raises:
            SandboxConfigError: If what the workspace picks cannot be used.
            SandboxUnavailableError: If the engine or the image is not there; the message says how to get it.
        """

    async def require_runtime(self, name: str | None) -> str:
        """The name of the OCI runtime that containers run under, where one is asked for or not.

        Raises:
            SandboxConfigError: If the engine has none of that name; the message names those that it has.
            SandboxUnavailableError: If it does not answer.
        """

    async def create(self, spec: ContainerSpec) -> Container:
        """Make a container that does not run yet.

        Raises:
            SandboxConfigError: If it would run under another runtime than the one that is asked for.
            SandboxUnavailableError: If the engine refuses.
        """

    async def collect_garbage(self) -> list[str]:
        """Remove what processes of this machine left when they died; returns the containers' names."""
