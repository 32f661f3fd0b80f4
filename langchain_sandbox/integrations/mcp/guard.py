"""Who may talk to the HTTP server: whoever has the token, and is no web page that somebody else has opened.

Browsers can be made to send requests to loopback by any page, also under a name that the page's owner has pointed
there (DNS rebinding). So a request's `Host` has to be loopback's where the server listens there, and a request that
comes from a page, which has an `Origin`, has to come from one of the server's own.
"""

from __future__ import annotations

import hmac
import json
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

_FORBIDDEN = 403
_UNAUTHORIZED = 401
_MISDIRECTED = 421
_WORDS = {
    _UNAUTHORIZED: "A bearer token is needed: Authorization: Bearer <token>.",
    _FORBIDDEN: "Web pages may not use this server.",
    _MISDIRECTED: "This server answers to localhost only.",
}


class Guard:
    """Lets requests through to an ASGI application, or answers them itself.

    Args:
        app: The application.
        token: What a client has to know.
        host: Where the server listens.
    """

    def __init__(self, app: App, *, token: str, host: str) -> None:
        self._app = app
        self._token = token
        self._local = is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is no request and no beginning or end of the server is not answered at all."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            status = judge(scope["headers"], token=self._token, local=self._local)
            if status is None:
                await self._app(scope, receive, send)
            else:
                await _refuse(status, send)


def judge(headers: Iterable[tuple[bytes, bytes]], *, token: str, local: bool) -> int | None:
    """The HTTP status with which a request is refused; `None` for one that may pass.

    Args:
        headers: The request's, names in lower case.
        token: What the client has to know.
        local: Whether the server listens on loopback.
    """
    said: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        said.setdefault(name, []).append(value)
    hosts = [_host_of(f"//{value.decode('latin-1')}") for value in said.get(b"host", [])]
    if len(hosts) != 1 or (local and not is_loopback(hosts[0])):
        return _MISDIRECTED
    origins = [_host_of(value.decode("latin-1")) for value in said.get(b"origin", [])]
    if any(not origin or (origin != hosts[0] and not is_loopback(origin)) for origin in origins):
        return _FORBIDDEN
    keys = said.get(b"authorization", [])
    scheme, _, given = keys[0].partition(b" ") if len(keys) == 1 else (b"", b"", b"")
    known = hmac.compare_digest(given.strip(), token.encode())  # in a time that tells nothing of the token
    return None if scheme.lower() == b"bearer" and known else _UNAUTHORIZED


def is_loopback(host: str) -> bool:
    """Whether a host's name or number means this machine and no other."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _host_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


async def _refuse(status: int, send: Send) -> None:
    body = json.dumps({"error": _WORDS[status]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == _UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
