"""Where the engine is: `DOCKER_HOST`, else the docker command's current context, else the usual socket."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import docker
from docker.context import ContextAPI
from docker.errors import DockerException
from docker.tls import TLSConfig

from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CALL_TIMEOUT = 60
_CONNECTIONS = 32

_DEFAULT = "unix:///var/run/docker.sock"


class _ApiClient(docker.APIClient):
    """The SDK's client, but deaf to the environment: a company's CA bundle in it would replace the engine's own."""

    trust_env = property(lambda _self: False, lambda _self, _value: None)


class _Client(docker.DockerClient):
    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - the SDK's own options
        self.api = _ApiClient(**options)


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """An engine's address, checked.

    Args:
        url: Such as `unix:///var/run/docker.sock` or `tcp://10.0.0.2:2376`.
        certificates: Folder with `ca.pem`, `cert.pem` and `key.pem`, for TLS.
        origin: What the user configured, if `url` is only our way there.
    """

    url: str
    certificates: Path | None = None
    origin: str | None = None

    @property
    def socket(self) -> str | None:
        """Path of the unix socket, if it is one."""
        return urlsplit(self.url).path if self.url.startswith("unix:") else None

    @property
    def uses_ssh(self) -> bool:
        """Whether it is reached through ssh, see `dial`."""
        return self.url.startswith("ssh:")

    @property
    def base_url(self) -> str:
        """The address as an HTTP client takes it."""
        if self.socket:
            return "http://engine"
        return f"{'https' if self.certificates else 'http'}://{urlsplit(self.url).netloc}"

    def connect(self, *, timeout: float = _CALL_TIMEOUT) -> docker.DockerClient:
        """A client of the docker SDK for it; blocks until the engine has told its version.

        Args:
            timeout: Seconds that the engine may be silent in any call.

        Raises:
            docker.errors.DockerException: If it does not answer.
        """
        tls: TLSConfig | bool = False
        if self.certificates is not None:
            pair = (str(self.certificates / "cert.pem"), str(self.certificates / "key.pem"))
            tls = TLSConfig(client_cert=pair, ca_cert=str(self.certificates / "ca.pem"), verify=True)
        return _Client(
            base_url=self.url,
            tls=tls,
            version="auto",
            timeout=timeout,
            max_pool_size=_CONNECTIONS,
            use_ssh_client=self.uses_ssh,  # the user's own ssh and its configuration, not a library's
        )

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS settings as the standard library takes them."""
        if self.certificates is None:
            return None
        context = ssl.create_default_context(cafile=str(self.certificates / "ca.pem"))
        context.load_cert_chain(str(self.certificates / "cert.pem"), str(self.certificates / "key.pem"))
        return context


def find_engine(environ: Mapping[str, str] | None = None) -> EngineAddress:
    """Find the engine as the docker command would.

    Args:
        environ: Where to read `DOCKER_HOST` and its companions; the process environment by default.

    Raises:
        SandboxConfigError: If the address is of a kind that we cannot attach to.
        SandboxUnavailableError: If the docker command's context cannot be read.
    """
    environ = os.environ if environ is None else environ
    url = environ.get("DOCKER_HOST") or _context_url(environ.get("DOCKER_CONTEXT")) or _DEFAULT
    scheme = urlsplit(url).scheme
    if scheme == "npipe":
        msg = "The engine's address is a Windows pipe. Run Python inside WSL2, where Docker offers a unix socket."
        raise SandboxConfigError(msg)
    if scheme not in {"unix", "tcp", "ssh"}:
        msg = f"The engine's address must begin with unix://, tcp:// or ssh://, not {url!r}. Look at DOCKER_HOST."
        raise SandboxConfigError(msg)
    secure = bool(environ.get("DOCKER_TLS_VERIFY")) and scheme == "tcp"
    folder = Path(environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker") if secure else None
    return EngineAddress(url, folder)


def _context_url(name: str | None) -> str | None:
    try:
        context = ContextAPI.get_context(name)
    except (DockerException, OSError, ValueError) as error:
        msg = f"The docker command's context cannot be read: {error}. Look at `docker context ls`."
        raise SandboxUnavailableError(msg) from error
    # The default context is no more than the environment and the usual socket.
    return str(context.Host) if context is not None and context.Name != "default" else None
