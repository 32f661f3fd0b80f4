"""The Docker Engine API, for everything that speaks it: Docker, Docker Desktop, Podman's service."""

from __future__ import annotations

import json
import logging
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
import docker
import docker.errors
import httpx
import requests

from langchain_sandbox.engine import labels
from langchain_sandbox.engine.attach import AttachedStream, open_attachment
from langchain_sandbox.engine.base import ContainerEnd, ContainerSpec
from langchain_sandbox.engine.hardening import USER, Dialect, build_host_config
from langchain_sandbox.engine.images.choice import choose_image
from langchain_sandbox.engine.owner import is_dead
from langchain_sandbox.engine.runtimes import check_made, check_runtime
from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from langchain_sandbox.engine.address import EngineAddress

T = TypeVar("T")

logger = logging.getLogger(__name__)

# -I and -S: neither the environment, nor the working folder, nor site-packages can put code into PID 1.
PROGRAM = ["/usr/bin/python3", "-I", "-S", "/opt/langchain-sandbox"]

_GONE = {404, 409}  # no such container, or its removal is in progress
_MAKE_PLACES = 16
_REMOVE_PLACES = 8
_CLEANUP_LIMIT = 5.0
_REMOVE_TRIES = 10
_REMOVE_PAUSE = 0.2


class DockerEngine:
    """An engine of this API at one address.

    Args:
        address: Where it is; `find_engine` finds it as the docker command does.
    """

    def __init__(self, address: EngineAddress) -> None:
        self.address = address
        self._client: docker.DockerClient | None = None
        self._connecting = anyio.Lock()
        self._told: dict[str, Any] | None = None
        self._dialect: Dialect = "docker"
        self._places = anyio.CapacityLimiter(_MAKE_PLACES)
        # Places of their own: a hundred containers being made must not keep one from being killed.
        self._remove_places = anyio.CapacityLimiter(_REMOVE_PLACES)
        transport = httpx.AsyncHTTPTransport(
            uds=self.address.socket,
            verify=self.address.ssl_context() or False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )
        self._http = httpx.AsyncClient(transport=transport, base_url=self.address.base_url, trust_env=False)

    @property
    def shares_files(self) -> bool:
        """Whether it can mount this machine's folders: only one that is reached by its own socket."""
        return self.address.socket is not None and self.address.origin is None

    @property
    def private_places(self) -> list[Path]:
        """The engine's socket."""
        return [Path(self.address.socket)] if self.address.socket else []

    async def identify(self) -> str:
        """Its own name for itself, and what it says of how containers are bounded."""
        told = await self._ask()
        words = (
            "ID",
            "ServerVersion",
            "KernelVersion",
            "CgroupVersion",
            "CgroupDriver",
            "MemoryLimit",
            "PidsLimit",
        )
        return json.dumps([self.address.url, *(told.get(word) for word in words)])

    async def require_runtime(self, name: str | None) -> str:
        """The name of the OCI runtime that containers run under, where one is asked for or not."""
        try:
            return check_runtime(name, await self._ask())
        except SandboxConfigError:
            self._told = None  # the user may be about to register it
            raise

    async def require_image(self, name: str | None, *, workspace: Path | None = None) -> str:
        """The id of the image with that name, else of the one that the workspace picks, else of the package's own."""
        client = await self._connect()
        return await self._call(partial(choose_image, client, name, workspace=workspace))

    async def create(self, spec: ContainerSpec) -> DockerContainer:
        """Make a container that does not run yet."""
        client = await self._connect()
        config = build_container_config(spec, dialect=self._dialect)
        # Not abandoned when cancelled: a container that is being made has to be known to be removed.
        with anyio.CancelScope(shield=True):
            made = await self._call(partial(client.api.create_container_from_config, config, name=spec.name))
        container = DockerContainer(self, str(made["Id"]), spec.name)
        if spec.runtime is not None:
            await self._check_made(container, spec.runtime)
        return container

    async def collect_garbage(self) -> list[str]:
        """Remove what dead processes of this machine left behind."""
        client = await self._connect()

        def find() -> list[dict[str, Any]]:
            listed = client.api.containers(all=True, filters={"label": labels.OWNER})
            return [item for item in listed if is_dead(item["Labels"].get(labels.OWNER, ""))]

        removed: list[str] = []
        for item in await self._call(find):
            logger.info("removing %s, left by a process that is gone", item["Names"])
            await self.remove(item["Id"])
            removed.extend(name.lstrip("/") for name in item["Names"])
        return removed

    async def start(self, container: str) -> None:
        """Start a container by its id."""
        client = await self._connect()
        with anyio.CancelScope(shield=True):
            await self._call(partial(client.api.start, container))

    async def remove(self, container: str) -> None:
        """Kill and remove a container by its id; that it is gone already is no error."""
        client = await self._connect()

        def remove() -> bool:
            try:
                client.api.remove_container(container, force=True, v=True)
            except docker.errors.APIError as error:
                # Podman refuses to kill what is just ending by itself.
                if "container state improper" in str(error.explanation):
                    return False
                if error.status_code not in _GONE:
                    raise
            return True

        for _ in range(_REMOVE_TRIES):
            if await self._call(remove, places=self._remove_places):
                return
            await anyio.sleep(_REMOVE_PAUSE)
        msg = "The engine says that the container is neither running nor gone."
        raise SandboxUnavailableError(msg)

    async def attach(self, container: str) -> AttachedStream:
        """Open a container's standard streams."""
        path = f"{await self._prefix()}/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        try:
            return await open_attachment(self._http, path)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    async def events(self, container: str, stack: AsyncExitStack) -> AsyncIterator[dict[str, Any]]:
        """Open the engine's events about a container; they are being recorded when this returns."""
        query = {"filters": json.dumps({"container": [container], "type": ["container"]})}
        request = self._http.stream(
            "GET", f"{await self._prefix()}/events", params=query, timeout=httpx.Timeout(30.0, read=None)
        )
        try:
            response = await stack.enter_async_context(request)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return _parse_events(response)

    async def _check_made(self, container: DockerContainer, runtime: str) -> None:
        """Throw a container away that was made under another runtime."""
        client = await self._connect()
        try:
            told = await self._call(partial(client.api.inspect_container, container.id))
            check_made(runtime, told, await self._ask())
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLEANUP_LIMIT):
                await container.remove()
                await container.aclose()
            raise

    async def _ask(self) -> dict[str, Any]:
        """The engine's words on itself, when it was asked first: that takes longer than waking a spare."""
        if self._told is None:
            client = await self._connect()
            self._told = await self._call(client.api.info)
        return self._told

    async def _prefix(self) -> str:
        client = await self._connect()
        return f"/v{client.api.api_version}"

    async def _connect(self) -> docker.DockerClient:
        async with self._connecting:
            if self._client is None:
                client = await self._call(self.address.connect)
                self._dialect = find_dialect(await self._call(client.version))
                self._client = client
        return self._client

    async def _call(self, function: Callable[[], T], *, places: anyio.CapacityLimiter | None = None) -> T:
        """Run a blocking call of the SDK in a thread and speak our own exceptions."""
        try:
            return await anyio.to_thread.run_sync(function, limiter=places or self._places)
        except docker.errors.APIError as error:
            msg = f"The engine refused: {error.explanation or error}"
            raise SandboxUnavailableError(msg) from error
        except SandboxUnavailableError as error:
            # Who looks for an image has words of its own for what the engine answers, and none for its silence.
            if (silence := _find_silence(error)) is not None:
                raise self._unreachable(silence) from error
            raise
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> SandboxUnavailableError:
        place = self.address.origin or self.address.url
        msg = (
            f"No container engine answers at {place} ({error}). Start Docker (for example "
            "`sudo systemctl start docker`), or set DOCKER_HOST to where it is; your user must be allowed to use it."
        )
        return SandboxUnavailableError(msg)


class DockerContainer:
    """One container of a `DockerEngine`."""

    def __init__(self, engine: DockerEngine, container_id: str, name: str) -> None:
        self.id = container_id
        self.name = name
        self._engine = engine
        self._events: AsyncIterator[dict[str, Any]] | None = None
        self.oom = False
        self._stack = AsyncExitStack()

    async def attach(self) -> AttachedStream:
        """Open the stream and the engine's events about this container."""
        self._events = await self._engine.events(self.id, self._stack)
        return await self._engine.attach(self.id)

    async def start(self) -> None:
        """Let the program run."""
        await self._engine.start(self.id)

    async def wait(self) -> ContainerEnd:
        """Return when it has ended and is gone, or when the engine went away."""
        exit_code: int | None = None
        assert self._events is not None, "attach first"  # noqa: S101 - a mistake of ours, not of a caller
        try:
            async for event in self._events:
                match event.get("Action"):
                    case "oom":
                        self.oom = True
                    case "die":
                        exit_code = int(event["Actor"]["Attributes"].get("exitCode", -1))
                    case "destroy" | "remove":  # the latter is Podman's word
                        return ContainerEnd(exit_code=exit_code, oom=self.oom)
        except (httpx.HTTPError, OSError):
            pass  # as at the stream's end: the engine went away
        return ContainerEnd(exit_code=exit_code, oom=self.oom, lost=True)

    async def remove(self) -> None:
        """Kill it if it runs and take it away."""
        await self._engine.remove(self.id)

    async def aclose(self) -> None:
        """Close our side of the engine's events."""
        await self._stack.aclose()


def build_container_config(spec: ContainerSpec, *, dialect: Dialect = "docker") -> dict[str, Any]:
    """The body of the engine's create call.

    Args:
        spec: What is to be made.
        dialect: Which engine it is for.
    """
    return {
        "Image": spec.image,
        # Nothing of how it starts is left to the image: a derived one may stand on somebody else's.
        "Entrypoint": list(spec.program or PROGRAM),
        "Cmd": [],
        # Nor what would load a base image's libraries into PID 1; tools get an environment of their own anyway.
        "Env": ["LD_PRELOAD=", "LD_LIBRARY_PATH=", "LD_AUDIT="],
        "Healthcheck": {"Test": ["NONE"]},  # it would run beside PID 1, without PID 1's system call filter
        "Hostname": "sandbox",
        "User": spec.user or USER,
        "WorkingDir": "/",
        "Labels": dict(spec.labels),
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,  # the first attachment's end is the end of input, for good
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "StopSignal": "SIGKILL",  # PID 1 ignores the polite ones; `docker stop` should not wait for nothing
        "HostConfig": build_host_config(spec.limits, mounts=spec.mounts, runtime=spec.runtime, dialect=dialect),
    }


def find_dialect(version: Mapping[str, Any]) -> Dialect:
    """Which engine it is, by its own words on its version.

    Args:
        version: Its answer to `/version`.
    """
    names = [str(part.get("Name", "")) for part in version.get("Components") or []]
    return "podman" if any("podman" in name.lower() for name in names) else "docker"


def _find_silence(error: BaseException) -> Exception | None:
    """What an error comes from, if it is that nobody answers. Pure."""
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, (requests.ConnectionError, requests.Timeout)):
            return cause
        cause = cause.__cause__
    return None


async def _parse_events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line:
            yield json.loads(line)
