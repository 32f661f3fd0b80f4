"""Where the model is: found, checked and asked for its name before any container is made."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.gateway.http_call import HttpCaller
from langchain_sandbox.gateway.rules import check_addresses

if TYPE_CHECKING:
    from langchain_sandbox.config import Limits, ModelEndpoint

PREFLIGHT_LIMIT = 4.0
_DEFAULT_CONTEXT = 32 * 1024
_MAX_OUTPUT = 8 * 1024
_CLIENT_ERROR = 400


class UpstreamError(Exception):
    """The model server cannot be used; `code` names how."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class ModelNameError(SandboxConfigError):
    """The server answers, and it is not clear which of its models is meant; `served` has their names."""

    def __init__(self, message: str, *, served: list[str]) -> None:
        super().__init__(message)
        self.served = served


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A model server that has answered.

    Args:
        model: Name that it serves.
        context: Tokens that the model takes in all.
        context_told: Whether the server said so; else it is what we assume.
        url: Its base address, by number: the name is not looked up again, so it cannot come to mean another place.
        headers: What each request carries, the key included.
        server_name: What its certificate must say, for TLS.
        tls: How certificates are checked, for TLS.
    """

    model: str
    context: int
    context_told: bool = False
    url: str
    headers: dict[str, str] = field(repr=False)
    server_name: str | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    provider: str = "openai_compatible"
    """Whose it is, for tracers: what serves it is not asked."""
    note: str | None = None
    """What the caller should know of the choice of the model."""
    server: str = ""
    """Its base address as it was configured, which runs that share a limit have in common."""
    max_concurrency: int | None = None
    """Requests that it is sent at once at most; `None` for no limit."""

    @property
    def output(self) -> int:
        """Tokens that one answer may have: the prompt and it must fit the context together."""
        return min(_MAX_OUTPUT, self.context // 4)

    def open(self, limits: Limits) -> HttpCaller:
        """Ready to be called.

        Args:
            limits: `first_byte` and `idle` bound the waiting.
        """
        return HttpCaller(self, limits)

    def client(self) -> httpx.AsyncClient:
        """A client for it that follows no redirection and asks no proxy."""
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=self.tls or False, limits=httpx.Limits(max_connections=None)),
            headers=self.headers,
            trust_env=False,
        )

    @property
    def extensions(self) -> dict[str, Any]:
        """What each request needs besides, in the words of the HTTP library."""
        return {"sni_hostname": self.server_name} if self.server_name else {}


async def find_upstream(endpoint: ModelEndpoint, *, allow_remote: bool, wanted: str | None = None) -> Upstream:
    """Ask a model server what it serves, within four seconds.

    Args:
        endpoint: As configured.
        allow_remote: Whether it may be outside the user's network.
        wanted: Model that a command asks for, maybe with its provider before it; taken if it is served.

    Raises:
        SandboxConfigError: If the address is not allowed.
        ModelNameError: If the model is not among those served, or none is named where there are several.
        UpstreamError: If the server does not answer as a model server does.
    """
    url = httpx.URL(endpoint.base_url)
    try:
        with anyio.fail_after(PREFLIGHT_LIMIT):
            address = await _resolve(url, allow_remote=allow_remote)
            headers = {"Host": url.netloc.decode("ascii")}
            if endpoint.api_key:
                headers["Authorization"] = f"Bearer {endpoint.api_key}"
            draft = Upstream(
                model="",
                context=_DEFAULT_CONTEXT,
                url=str(url.copy_with(host=address)).rstrip("/"),
                headers=headers,
                server_name=url.host if url.scheme == "https" else None,
                # In a thread, since it reads the certificates from disk.
                server=endpoint.base_url,
                max_concurrency=endpoint.max_concurrency,
                tls=await anyio.to_thread.run_sync(ssl.create_default_context) if url.scheme == "https" else None,
            )
            async with draft.client() as client:
                response = await client.get(f"{draft.url}/models", extensions=draft.extensions)
    except TimeoutError as error:
        msg = f"the model server {endpoint.base_url} did not answer within {PREFLIGHT_LIMIT:.0f} s"
        raise UpstreamError(msg, code="model_unreachable") from error
    except (httpx.HTTPError, OSError) as error:
        msg = f"the model server {endpoint.base_url} cannot be reached: {str(error) or type(error).__name__}"
        raise UpstreamError(msg, code="model_unreachable") from error
    if response.status_code >= _CLIENT_ERROR:
        msg = f"the model server {endpoint.base_url} answered GET /v1/models with HTTP {response.status_code}"
        raise UpstreamError(msg, code=f"http_{response.status_code}")
    served = _parse_models(response, endpoint)
    chosen = _find_wanted(served, wanted) if wanted else None
    note = None
    if chosen is None:
        chosen = _choose(served, endpoint)
        if wanted:
            note = f"The command asks for the model {wanted!r}, which is not served; it ran with {chosen['id']!r}."
    context = chosen.get("max_model_len")
    if not isinstance(context, int) or context <= 0:
        return replace(draft, model=chosen["id"], note=note)
    return replace(draft, model=chosen["id"], context=context, context_told=True, note=note)


async def _resolve(url: httpx.URL, *, allow_remote: bool) -> str:
    found = await anyio.getaddrinfo(url.host, url.port or 80, type=socket.SOCK_STREAM)
    addresses = [str(item[4][0]) for item in found]
    if not allow_remote:
        check_addresses(url.host, addresses)
    # "localhost" is often ::1 first, where few model servers listen.
    return min(addresses, key=lambda address: ":" in address)


def _parse_models(response: httpx.Response, endpoint: ModelEndpoint) -> list[dict[str, Any]]:
    try:
        return [item for item in response.json()["data"] if isinstance(item.get("id"), str)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"{endpoint.base_url}/models did not answer with a list of models: is it an OpenAI-compatible server?"
        raise UpstreamError(msg, code="malformed_answer") from error


def _find_wanted(served: list[dict[str, Any]], wanted: str) -> dict[str, Any] | None:
    """The model of a name; OpenCode's own commands write the provider before it."""
    names = (wanted, wanted.partition("/")[2])
    return next((item for name in names for item in served if item["id"] == name), None)


def _choose(served: list[dict[str, Any]], endpoint: ModelEndpoint) -> dict[str, Any]:
    names = [item["id"] for item in served]
    if endpoint.name is None:
        # vLLM lists adapters beside the model that they belong to, which alone has no parent.
        served = [item for item in served if item.get("parent") is None]
        if len(served) != 1:
            msg = (
                f"{endpoint.base_url} serves {len(served)} models; name one of {names} as ModelEndpoint(name=...), "
                "or set SANDBOX_MODEL_NAME to it."
            )
            raise ModelNameError(msg, served=names)
    else:
        served = [item for item in served if item["id"] == endpoint.name]
        if not served:
            msg = f"{endpoint.base_url} does not serve the model {endpoint.name!r}; it serves {names}."
            raise ModelNameError(msg, served=names)
    return served[0]
