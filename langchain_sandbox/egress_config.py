"""Where programs in a container may go, by name. Pure: nothing is looked up here."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from langchain_sandbox.config import GIB, parse_bytes, parse_number
from langchain_sandbox.errors import SandboxConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

USUAL_PORTS = (80, 443)
"""Those of a name that is given without one."""

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_MAX_NAME = 253
_NAMED = 50
_MAX_PORT = 65535
_LEAST_BELOW = 2  # labels behind the star: `*.com` is half of the world
# Where clouds hand out credentials to whoever asks: no list opens that.
_NEVER = (ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fe80::/10"))


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the list.

    Args:
        host: A name in lower case, or an address; behind a star, the end of one, with its dot.
        ports: Where on it.
        below: Whether it is of all names that end so, and not of this one.
    """

    host: str
    ports: tuple[int, ...]
    below: bool = False

    def permits(self, host: str, port: int) -> bool:
        """Whether a place is meant.

        Args:
            host: A name in lower case, without a dot at its end, or an address.
            port: The port.
        """
        if port not in self.ports:
            return False
        return host.endswith(self.host) and host != self.host if self.below else host == self.host


@dataclass(frozen=True, slots=True)
class Egress:
    """Where programs in the container may go. They are told of a proxy that goes there for them, and nowhere else.

    Args:
        allow: Names, each with or without a port: `"packages.example.com"` (ports 80 and 443),
            `"packages.example.com:8443"`, `"*.example.org"` for all names below that one.
        networks: Private networks in which the addresses of those names may lie, such as `"10.1.2.0/24"` for an index
            of your own. Public addresses need none; any other is refused, whatever a name leads to.
        traffic: Bytes that may go through in one run, both ways together; or text such as `"1g"`.
        connections: How many there may be in one run.

    Raises:
        SandboxConfigError: If something of it cannot be read, or would open more than anyone means.

    Example:
        ```python
        Sandbox(egress=["pypi.org", "files.pythonhosted.org"])
        Sandbox(egress=Egress(["pypi.corp.example"], networks=["10.1.2.0/24"], traffic="200m"))
        ```
    """

    allow: Sequence[str]
    networks: Sequence[str] = ()
    traffic: int | str = GIB
    connections: int = 1000

    def __post_init__(self) -> None:
        for name in ("allow", "networks"):
            object.__setattr__(self, name, _check_texts(name, getattr(self, name)))
        _ = self.rules, self.private  # each is read once, so that a fault is told now
        if not self.allow:
            msg = "Egress.allow names nothing. Leave egress out for a container that goes nowhere."
            raise SandboxConfigError(msg)
        object.__setattr__(self, "traffic", parse_bytes("Egress.traffic", self.traffic))
        for name in ("traffic", "connections"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
                msg = f"Egress.{name} must be a positive whole number, not {value!r}."
                raise SandboxConfigError(msg)

    @classmethod
    def of(cls, value: object) -> Egress | None:
        """What a caller means: an `Egress`, a list of names, or nothing.

        Raises:
            SandboxConfigError: If it is none of these.
        """
        if value is None or isinstance(value, Egress):
            return value
        if isinstance(value, str) or not isinstance(value, Iterable):
            msg = f"egress is a list of names, such as ['pypi.org'], or an Egress, not {value!r:.100}."
            raise SandboxConfigError(msg)
        names = list(value)
        return cls(names) if names else None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self | None:
        """Read `SANDBOX_EGRESS`, names with commas between; and `_NETWORKS`, `_TRAFFIC` and `_CONNECTIONS`.

        Args:
            environ: Where to read; the process environment by default.

        Returns:
            What they say; `None` if the first one is not set.

        Raises:
            SandboxConfigError: If it cannot work.
        """
        environ = os.environ if environ is None else environ
        names = _split(environ.get("SANDBOX_EGRESS", ""))
        if not names:
            return None
        options: dict[str, Any] = {"networks": _split(environ.get("SANDBOX_EGRESS_NETWORKS", ""))}
        if text := environ.get("SANDBOX_EGRESS_TRAFFIC", "").strip():
            options["traffic"] = text
        if text := environ.get("SANDBOX_EGRESS_CONNECTIONS", "").strip():
            options["connections"] = parse_number("SANDBOX_EGRESS_CONNECTIONS", text)
        return cls(names, **options)

    @property
    def places(self) -> str:
        """The entries in words, such as `pypi.org, *.example.org:443`; of very many the first ones."""
        named = ", ".join(self.allow[:_NAMED])
        return f"{named} and {len(self.allow) - _NAMED} more" if len(self.allow) > _NAMED else named

    @property
    def note(self) -> str:
        """What the agent in the container is told of it, behind its task."""
        return (
            "Programs here have no network, but for these places, by HTTP and HTTPS: "
            f"{self.places}. They go there through the proxy that HTTP_PROXY and HTTPS_PROXY name, which most of them "
            "do by themselves. Where it is said that there is no network, or that nothing can be installed, these "
            "places are the exception. Everything else is refused, so do not try it."
        )

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The entries, read."""
        return tuple(parse_rule(text) for text in self.allow)

    @property
    def private(self) -> tuple[Network, ...]:
        """The networks, read."""
        return tuple(parse_network(text) for text in self.networks)

    def permits(self, host: str, port: int) -> bool:
        """Whether a place is on the list; where its name leads is another question.

        Args:
            host: A name in lower case, without a dot at its end, or an address.
            port: The port.
        """
        return is_place(host) and any(rule.permits(host, port) for rule in self.rules)


def is_place(host: str) -> bool:
    """Whether it is a name or an address as resolvers know them: no NUL, no empty part, nothing but ASCII.

    Args:
        host: In lower case, without a dot at its end.
    """
    named = len(host) <= _MAX_NAME and all(_LABEL.fullmatch(label) for label in host.split("."))
    return named or _read_address(host) is not None


def parse_rule(text: str) -> Rule:
    """Read one entry.

    Raises:
        SandboxConfigError: If it is no name with or without a port, or would open more than anyone means.
    """
    name = text.strip().lower()
    ports: tuple[int, ...] = USUAL_PORTS
    if name.startswith("["):
        name, closed, rest = name[1:].partition("]")
        name, port = name if closed else "", rest.removeprefix(":")
    elif name.count(":") > 1:
        port = ""  # an address of version 6 without a port
    else:
        name, _, port = name.partition(":")
    if port:
        if not port.isdecimal() or not 0 < int(port) <= _MAX_PORT:
            msg = f"egress: {text!r} has no port that there is."
            raise SandboxConfigError(msg)
        ports = (int(port),)
    below = name.startswith("*.")
    name = name[1:] if below else name.removesuffix(".")
    if not below and (address := _read_address(name)) is not None:
        return Rule(address, ports)
    labels = name.removeprefix(".").split(".")
    if len(name) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        msg = (
            f"egress: {text!r} is no name of a place. It looks like packages.example.com, packages.example.com:8443 or "
            "*.example.org, without http://, and international names as xn--…."
        )
        raise SandboxConfigError(msg)
    if below and len(labels) < _LEAST_BELOW:
        msg = f"egress: {text!r} would open half of the world. Name what is needed, such as *.example.org."
        raise SandboxConfigError(msg)
    return Rule(name, ports, below=below)


def describe_network(egress: Egress | None) -> str:
    """What a container has of a network, for those who hand it tasks; such as `without network`."""
    return f"without network but for {egress.places}" if egress is not None else "without network"


def parse_network(text: str) -> Network:
    """Read one network.

    Raises:
        SandboxConfigError: If it is none, or one that no list opens.
    """
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError as error:
        msg = f"Egress.networks: {text!r} is no network such as 10.1.2.0/24: {error}."
        raise SandboxConfigError(msg) from error
    if any(network.version == other.version and network.overlaps(other) for other in _NEVER):
        msg = f"Egress.networks: {text!r} holds link-local addresses, where clouds hand out credentials."
        raise SandboxConfigError(msg)
    return network


def _read_address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _check_texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        msg = f"Egress.{name} is a list, not {value!r:.100}."
        raise SandboxConfigError(msg)
    texts = tuple(value)
    for text in texts:
        if not isinstance(text, str):
            msg = f"Egress.{name} is a list of text, and {text!r:.100} is none."
            raise SandboxConfigError(msg)
    return texts


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"[\s,]+", text) if part]
