"""What a container may ask and where a model may be. Pure, and all of it in this file."""

from __future__ import annotations

import ipaddress
from enum import Enum
from typing import TYPE_CHECKING

from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REQUEST = 32 * 1024 * 1024
MAX_ANSWER = 64 * 1024 * 1024

# OpenCode's first request alone is some 8,000 tokens: ten tools and a page of instructions.
LEAST_CONTEXT = 16 * 1024

_LOCAL_NETWORKS = [
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]


class Route(Enum):
    """What a request is."""

    CHAT = "chat"
    MODELS = "models"
    REFUSED = "refused"


def route(method: str, target: str) -> Route:
    """Tell what a request is, by its exact words.

    The raw target is compared, before any library takes `//`, `..` or `%2e` out of it: a model server has other
    doors (`/metrics`, `/v1/load_lora_adapter`, `/sleep`) that a container has no business at.
    """
    match (method, target):
        case ("POST", "/v1/chat/completions"):
            return Route.CHAT
        case ("GET", "/v1/models"):
            return Route.MODELS
        case _:
            return Route.REFUSED


def find_shortage(context: int) -> str | None:
    """Say it where a model's context is too short for OpenCode to get anything done, or `None`.

    Args:
        context: Tokens that the model takes in all.
    """
    if context >= LEAST_CONTEXT:
        return None
    return (
        f"The model takes only {context} tokens, and OpenCode's first request alone is about 8000; 32768 is what works "
        "well (vLLM: --max-model-len)."
    )


def check_addresses(host: str, addresses: Iterable[str]) -> None:
    """Refuse a model server outside the user's own network.

    Args:
        host: The name as configured, for the message.
        addresses: Everything that the name resolves to.

    Raises:
        SandboxConfigError: If one of them is neither loopback nor private.
    """
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        # Not `is_private`: that one counts link-local addresses in, where clouds serve credentials.
        if not any(address in network for network in _LOCAL_NETWORKS):
            msg = (
                f"The model server {host} is at {address}, which is neither loopback nor a private address: the "
                "repository's content would leave your network. If that is what you want, pass "
                "Sandbox(allow_remote_model=True) or set SANDBOX_ALLOW_REMOTE_MODEL=1."
            )
            raise SandboxConfigError(msg)
