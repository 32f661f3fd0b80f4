"""Which addresses a container may be led to. Pure: names are looked up elsewhere."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_sandbox.egress_config import Network

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def judge_address(text: str, *, private: Sequence[Network]) -> str | None:
    """Why a container must not be led to an address, or `None` if it may be.

    Args:
        text: The address, as a resolver gives it.
        private: Networks that are not public, and allowed.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return "it is no address"
    if any(each.is_link_local for each in _find_meant(address)):  # however it is written, and whatever is allowed
        return "it is link-local"
    if any(address.version == network.version and address in network for network in private):
        return None
    reasons = (_describe(each) for each in _find_meant(address))
    return next((reason for reason in reasons if reason is not None), None)


def _describe(address: _Address) -> str | None:
    """What it is if not a public one."""
    if address.is_loopback:
        return "it is this machine"
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return "it is no single machine's"
    return None if address.is_global else "it is private"


def _find_meant(address: _Address) -> list[_Address]:
    """The address, and those of version 4 that one of version 6 may be on the way to."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address in _NAT64:
        return [ipaddress.IPv4Address(address.packed[-4:])]
    found: list[_Address] = [address, *(each for each in (address.ipv4_mapped, address.sixtofour) if each is not None)]
    if address.teredo is not None:
        found += address.teredo
    if address in _COMPATIBLE:
        found.append(ipaddress.IPv4Address(address.packed[-4:]))
    return found
