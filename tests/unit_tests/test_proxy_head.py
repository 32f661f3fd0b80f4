"""What a request to the proxy in the container asks for."""

from __future__ import annotations

import pytest

from langchain_sandbox.agent.proxy import parse_head


@pytest.mark.parametrize(
    ("head", "parsed"),
    [
        (b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", ("a.example", 443, b"")),
        (b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n", ("2001:db8::1", 443, b"")),
        (
            b"GET http://a.example/b?c=1 HTTP/1.1\r\nHost: a.example\r\nProxy-Connection: keep-alive\r\nX: y\r\n\r\n",
            ("a.example", 80, b"GET /b?c=1 HTTP/1.1\r\nHost: a.example\r\nX: y\r\nConnection: close\r\n\r\n"),
        ),
        (
            b"POST http://a.example:8080 HTTP/1.1\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n",
            ("a.example", 8080, b"POST / HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"),
        ),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", None),
        (b"GET https://a.example/ HTTP/1.1\r\n\r\n", None),
        (b"CONNECT a.example HTTP/1.1\r\n\r\n", None),
        (b"CONNECT a.example:x HTTP/1.1\r\n\r\n", None),
        (b"CONNECT :443 HTTP/1.1\r\n\r\n", None),
        (b"hello\r\n\r\n", None),
        (b"\r\n", None),
        (b"\xff\xfe \x00 \r\n\r\n", None),
    ],
)
def test_tunnels_and_plain_requests(head: bytes, parsed: tuple[str, int, bytes] | None) -> None:
    assert parse_head(head) == parsed
