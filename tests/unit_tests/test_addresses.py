"""Where a name may lead: to public addresses, and to private ones that were named."""

from __future__ import annotations

import ipaddress

import pytest

from langchain_sandbox.gateway.addresses import judge_address

PRIVATE = [ipaddress.ip_network("10.1.2.0/24"), ipaddress.ip_network("fd00:1::/64")]


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "10.1.2.3", "fd00:1::5", "64:ff9b::101:101"])
def test_public_ones_and_those_that_were_named(address: str) -> None:
    assert judge_address(address, private=PRIVATE) is None


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("127.0.0.1", "machine"),
        ("127.8.8.8", "machine"),
        ("::1", "machine"),
        ("10.1.3.1", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("fd00:2::1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("0.0.0.0", "single"),
        ("255.255.255.255", "single"),
        ("224.0.0.1", "single"),
        ("ff02::1", "single"),
        ("::", "single"),
        ("::ffff:10.0.0.1", "private|single"),
        ("::ffff:169.254.169.254", "link-local|single"),
        ("::ffff:127.0.0.1", "machine|single"),
        ("::10.0.0.1", "private|single"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("64:ff9b::7f00:1", "machine"),
        ("64:ff9b:1::a00:1", "private|single"),
        ("2002:a00:1::1", "private"),
        ("2002:7f00:1::1", "machine|private"),
        ("2001:0:a00:1::f5ff:fffe", "private|single"),
        ("no address", "no address"),
    ],
)
def test_all_others_are_told_apart(address: str, word: str) -> None:
    reason = judge_address(address, private=PRIVATE)
    assert reason is not None
    assert any(each in reason for each in word.split("|")), reason


@pytest.mark.parametrize("address", ["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1"])
def test_link_local_ones_are_refused_whatever_is_allowed(address: str) -> None:
    everything = [ipaddress.ip_network("::/0"), ipaddress.ip_network("0.0.0.0/0")]
    assert judge_address(address, private=everything) == "it is link-local"
