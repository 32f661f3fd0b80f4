"""Which places a list opens, and what of it is refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_sandbox.egress_config import Egress, Rule, describe_network, parse_rule
from langchain_sandbox.errors import SandboxConfigError


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("packages.example.com", Rule("packages.example.com", (80, 443))),
        (" Packages.Example.COM. ", Rule("packages.example.com", (80, 443))),
        ("packages.example.com:8443", Rule("packages.example.com", (8443,))),
        ("*.example.org:443", Rule(".example.org", (443,), below=True)),
        ("localhost:8080", Rule("localhost", (8080,))),
        ("192.0.2.1", Rule("192.0.2.1", (80, 443))),
        ("2001:DB8::1", Rule("2001:db8::1", (80, 443))),
        ("[2001:db8::1]:443", Rule("2001:db8::1", (443,))),
        ("xn--bcher-kva.example", Rule("xn--bcher-kva.example", (80, 443))),
    ],
)
def test_an_entry_is_read(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "*", "*.", "*.com", "*.*.example.org", "a.*.example.org", "https://example.org", "example.org/path"),
        *("bücher.example", "ex ample.org", "-a.example.org", "a..example.org", "example.org:", "example.org:0"),
        *("example.org:65536", "example.org:https", "a" * 64 + ".example.org", "a." * 127 + "org", "user@example.org"),
        *("[2001:db8::1", "example.org\n", "\0.example.org"),
    ],
)
def test_what_is_no_name_or_opens_too_much_is_refused(text: str) -> None:
    if text == "example.org\n":
        assert parse_rule(text).host == "example.org"  # a line's end is no part of a name
    elif text == "example.org:":
        assert parse_rule(text) == parse_rule("example.org")
    else:
        with pytest.raises(SandboxConfigError, match="egress"):
            parse_rule(text)


@pytest.mark.parametrize(
    ("host", "port", "permitted"),
    [
        ("packages.example.com", 443, True),
        ("packages.example.com", 80, True),
        ("packages.example.com", 22, False),
        ("xpackages.example.com", 443, False),
        ("a.packages.example.com", 443, False),
        ("a.example.org", 443, True),
        ("a.b.example.org", 443, True),
        ("a.example.org", 80, False),
        ("example.org", 443, False),
        (".example.org", 443, False),
        ("badexample.org", 443, False),
        ("a\0b.example.org", 443, False),
        ("a..example.org", 443, False),
        ("ä.example.org", 443, False),
        ("a b.example.org", 443, False),
        ("127.0.0.1#.example.org", 443, False),
        ("user@a.example.org", 443, False),
        ("_dmarc.example.org", 443, True),
        (f"{'a' * 64}.example.org", 443, False),
        ("a.example.org.evil.example", 443, False),
        ("", 443, False),
    ],
)
def test_only_what_is_on_the_list_is_permitted(host: str, port: int, *, permitted: bool) -> None:
    assert Egress(["packages.example.com", "*.example.org:443"]).permits(host, port) is permitted


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"allow": []}, "names nothing"),
        ({"allow": "example.org"}, "is a list"),
        ({"allow": [1]}, "list of text"),
        ({"networks": ["10.0.0.1/8"]}, "no network"),
        ({"networks": ["169.254.169.254/32"]}, "link-local"),
        ({"networks": ["0.0.0.0/0"]}, "link-local"),
        ({"networks": ["::/0"]}, "link-local"),
        ({"traffic": 0}, "Egress.traffic"),
        ({"traffic": "much"}, "Egress.traffic"),
        ({"connections": True}, "Egress.connections"),
        ({"connections": 1.5}, "Egress.connections"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SandboxConfigError, match=words):
        Egress(**{"allow": ["example.org"], **options})


def test_what_a_caller_may_mean() -> None:
    egress = Egress(["example.org"], traffic="1m")
    assert Egress.of(egress) is egress
    assert Egress.of(None) is None
    assert Egress.of(()) is None
    assert Egress.of(["example.org"]) == Egress(("example.org",))
    assert egress.traffic == 1024 * 1024
    for wrong in ("example.org", 1):
        with pytest.raises(SandboxConfigError, match="list of names"):
            Egress.of(wrong)


def test_what_it_opens_is_said_in_words() -> None:
    egress = Egress(["pypi.org", "*.example.org:443"])
    assert describe_network(None) == "without network"
    assert describe_network(egress) == "without network but for pypi.org, *.example.org:443"
    assert "these places, by HTTP and HTTPS: pypi.org, *.example.org:443. They go" in egress.note
    many = Egress([f"a{number}.example.org" for number in range(60)]).places
    assert many.endswith(", a49.example.org and 10 more")


def test_the_environment_says_the_same() -> None:
    assert Egress.from_env({}) is None
    assert Egress.from_env({"SANDBOX_EGRESS": " , "}) is None
    told = {
        "SANDBOX_EGRESS": "a.example.org, *.example.com:443",
        "SANDBOX_EGRESS_NETWORKS": "10.1.2.0/24",
        "SANDBOX_EGRESS_TRAFFIC": "2m",
        "SANDBOX_EGRESS_CONNECTIONS": "5",
    }
    expected = Egress(["a.example.org", "*.example.com:443"], ["10.1.2.0/24"], "2m", 5)
    assert Egress.from_env(told) == expected
